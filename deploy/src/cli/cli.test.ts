import { create } from '@bufbuild/protobuf';
import { JobSchema, JobState, Stage } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { UsageError } from './command.ts';
import { commands } from './commands.ts';
import { progressLine } from './follow.ts';
import { nearest } from './help.ts';
import { main } from './main.ts';
import { sparkline, table, width } from './render.ts';

let written: { out: string; error: string };
beforeEach(() => {
  written = { out: '', error: '' };
  const take = (key: 'out' | 'error') => (text: unknown) => {
    written[key] += text;
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(take('out'));
  vi.spyOn(process.stderr, 'write').mockImplementation(take('error'));
});
afterEach(() => vi.restoreAllMocks());

const environment = { LANDFALL_URL: 'http://127.0.0.1:1', LANDFALL_API_KEY: 'x' };
const run = (...words: string[]) => main(words, environment);

describe('the command line', () => {
  it('shows all commands, and each with its options and an example that names it', async () => {
    expect(await run()).toBe(0);
    for (const [name, command] of Object.entries(commands)) {
      expect(written.out).toContain(command.usage);
      expect(command.usage.startsWith(name)).toBe(true);
      expect(command.example.startsWith(name)).toBe(true);
      expect(Object.keys(command.meaning).sort()).toEqual(Object.keys(command.options).sort());
    }
    written.out = '';
    expect(await run('train', '--help')).toBe(0);
    expect(written.out).toContain('--follow');
  });

  it.each([
    [['modles', 'list'], "did you mean 'models list'?"],
    [['train', 'x', '--epoch', '3'], 'did you mean --epochs?'],
    [['train'], 'NAME is missing'],
    [['train', 'x', '--base', 'models:/b/1.0.0'], '--data is missing'],
    [['models', 'list', 'more'], 'one argument too many'],
    [['models', 'list', '--kind', 'cat'], 'base, adapter, dataset'],
    [['keys', 'create', 'x', '--role', 'king'], '--role is one of'],
    [
      ['train', 'x', '--base', 'models:/b/1.0.0', '--data', 'models:/d/1.0.0', '--rank', 'high'],
      'is a number',
    ],
    [['plan', 'create', 'x', '--goal', 'bleu'], '--goal is metric=value'],
    [['prompts', 'render', 'x', '--set', 'y'], '--set is name=value'],
    [['prompts', 'log', '--score', 'quality=high'], '--score is name, name=8.. or name=1..3'],
    [['prompts', 'log', '--since', 'yesterday'], '--since is a time'],
    [['prompts', 'score', 'x', 'good'], 'VALUE is a number'],
    [['experiments', 'start', 'x', '1.0.0', '1.1.0'], 'name a label, such as x@production'],
    [['experiments', 'start', 'x@live', '1.0.0', '1.1.0:many'], '1.1.0:3'],
    [['prompts', 'evaluate', 'x', '--metric', 'beauty'], 'judge=DEPLOYMENT'],
    [['prompts', 'compare', 'x', '1.0.0'], 'VERSION is missing'],
    [['prompts', 'optimize', 'x'], '--deployment names'],
    [['prompts', 'optimize', 'x', '--deployment', 'a', '--move', 'left'], 'instruction, examples'],
    [['tests', 'create', 'x'], 'give one of --file'],
    [['collections', 'search', 'x'], 'give --image, --text or both'],
    [['collections', 'add', 'x', 'y', '--image', '/nowhere.png'], '--image: there is no file'],
    [['collections', 'add', 'x', 'y', '--text', 'z', '--set', 'w'], '--set is key=value'],
    [['collections', 'search', 'x', '--text', 'z', '--where', 'w'], '--where is key=value'],
    [['inspect', '/nowhere.png'], "can't be read (ENOENT)"],
    [['reviews', 'decide', 'x'], 'give one of --confirm, --none, --defect'],
    [['reviews', 'decide', 'x', '--defect', 'crack'], '--defect is TYPE:SEVERITY'],
    [['reviews', 'decide', 'x', '--defect', 'crack:awful'], 'slight, moderate, severe'],
    [['profiles', 'put', 'x', '/nowhere.json'], 'is no profile'],
    [['users', 'add', 'li'], 'SUBJECT is user:NAME'],
    [['users', 'rols', 'user:li'], "did you mean 'users roles'?"],
    [['groups', 'set', 'doctors'], '--role is missing'],
    [['rights', 'grant', 'prompts/x', 'group:y', 'viewer'], 'prompts grant'],
    [['rights', 'grant', 'datasets/x', 'group:y', 'viewer'], 'RESOURCE is models/NAME'],
    [['rights', 'grant', 'models/x', 'group:y', 'owner'], 'RIGHT is one of'],
    [['rights', 'why', 'SetAlais'], 'did you mean SetAlias?'],
    [['rights', 'why', 'GrantRight'], 'write Service/Method'],
    [['policies', 'set', '/nowhere.json'], 'is no policy'],
    [['policies', 'activate', 'first'], 'VERSION is a number'],
    [['content-reviews', 'decide', 'x', '--approve', '--reject'], 'give one of --approve, --reject'],
    [['content-reviews', 'decide', 'x', '--approve'], '--reason is missing'],
  ])('%j is called wrongly', async (words, said) => {
    expect(await run(...words)).toBe(2);
    expect(written.error).toContain(said);
    expect(written.out).toBe('');
  });

  it('says how to start a mesh where none answers or no key is there', async () => {
    expect(await run('models', 'list')).toBe(1);
    expect(written.error).toContain('npm start');
    expect(await main(['models', 'list'], { LANDFALL_HOME: '/nowhere' })).toBe(2);
    expect(written.error).toContain('LANDFALL_API_KEY is not set');
    expect(await main(['models', 'list'], { ...environment, LANDFALL_URL: 'here' })).toBe(2);
  });
});

describe('what it shows', () => {
  it('finds the nearest name, and none for what is like nothing', () => {
    expect(nearest('deploi', ['deploy', 'train'])).toBe('deploy');
    expect(nearest('xyzzy', ['deploy', 'train'])).toBeUndefined();
    expect(new UsageError('x').name).toBe('UsageError');
  });

  it('aligns columns by the width of Chinese characters', () => {
    expect(width('高血压 ab')).toBe(9);
    expect(
      table(
        ['NAME', 'X'],
        [
          ['高血压', '1'],
          ['a', '2'],
        ],
      ).split('\n'),
    ).toEqual(['NAME    X', '高血压  1', 'a       2']);
    expect(table(['NAME'], [])).toBe('no name');
  });

  it('draws a series, and a job with percent, rate, loss and time left', () => {
    expect(sparkline([8, 4, 0])).toBe('█▅▁');
    expect(sparkline([1, 1])).toBe('▁▁');
    expect(sparkline([Number.NaN])).toBe('');
    expect(sparkline(Array.from({ length: 1000 }, (_, i) => i))).toHaveLength(24);
    const job = create(JobSchema, {
      state: JobState.RUNNING,
      progress: {
        stage: Stage.TRAIN,
        percent: 50,
        step: 10,
        totalSteps: 20,
        tokensPerSecond: 1234.5,
        loss: 0.5,
        learningRate: 0.004,
        remainingSeconds: 61,
      },
    });
    const line = progressLine(job, [2, 1]);
    for (const part of [
      '50 %',
      'train',
      'step 10/20',
      '1235 tokens/s',
      'loss 0.5000',
      'rate 4.0e-3',
      '1 min 1 s left',
      '█▁',
    ])
      expect(line).toContain(part);
    expect(progressLine(create(JobSchema, { state: JobState.QUEUED }), [])).toBe('waiting for a worker');
  });

  it('tells of an audit log that is not there by exit code 2, without a mesh', async () => {
    expect(await main(['audit', 'verify', '--log', '/nowhere', '--json'], {})).toBe(2);
    expect(JSON.parse(written.out)).toMatchObject({ verdict: 'cannot tell', reason: expect.any(String) });
  });
});
