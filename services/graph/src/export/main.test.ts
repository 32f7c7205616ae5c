import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generator, testSeed } from '../../test/random.ts';
import { randomLora, randomModel } from '../../test/random-model.ts';
import { writeLoraAdapter } from '../checkpoint/peft.ts';
import { readCall, UsageError } from './call.ts';
import { ProgressLine } from './progress-line.ts';

const random = generator(testSeed('the export command'));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-export-command-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(...args: string[]) {
  const main = join(import.meta.dirname, 'main.ts');
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder });
}

test('writes both formats and says what it wrote', () => {
  const checkpoint = randomModel(join(folder, 'base'), {}, random);
  const lora = { r: 2, loraAlpha: 4, targetModules: ['q_proj', 'v_proj'], useRslora: false };
  writeLoraAdapter(join(folder, 'adapter'), randomLora(checkpoint, lora, random), 'base');
  const parts = ['--model', 'base', '--adapter', 'adapter'];
  const hf = run(...parts, '--format', 'hf', '--out', 'deep/hf', '--dtype', 'float16');
  expect(hf).toMatchObject({ status: 0 });
  expect(hf.stdout).toMatch(/^deep\/hf: \d+ parameters, [\d.]+ MB in model\.safetensors\n$/);
  expect(hf.stderr).toMatch(/writing weights 50 %\n.*note: the model folder has no tokenizer\.json/s);
  expect(readdirSync(join(folder, 'deep', 'hf')).sort()).toEqual([
    'config.json',
    'generation_config.json',
    'model.safetensors',
  ]);
  const onnx = run(...parts, '--format', 'onnx', '--out', 'onnx');
  expect(onnx).toMatchObject({ status: 0 });
  expect(readdirSync(join(folder, 'onnx', 'onnx')).sort()).toEqual(['model.onnx', 'model.onnx_data']);

  const again = run(...parts, '--format', 'onnx', '--out', 'onnx');
  expect(again).toMatchObject({ status: 1, stdout: '' });
  expect(again.stderr).toContain("can't be exported: the folder onnx is there already and not empty");
});

test.each([
  [[], '--model is missing'],
  [['--model', '.'], '--format is missing'],
  [['--model', '.', '--format', 'hf'], '--out is missing'],
  [['--model', 'nowhere', '--format', 'hf', '--out', 'x'], '--model nowhere: there is no such folder'],
  [
    ['--model', '.', '--adapter', 'no', '--format', 'hf', '--out', 'x'],
    '--adapter no: there is no such folder',
  ],
  [['--model', '.', '--format', 'gguf', '--out', 'x'], '--format gguf is unknown'],
  [['--model', '.', '--format', 'hf', '--out', 'x', '--dtype', 'int3'], '--dtype int3 is unknown'],
  [['--model', '.', '--format', 'onnx', '--out', 'x', '--dtype', 'float16'], 'written in float32'],
  [['--models', '.'], "Unknown option '--models'"],
])('%j is refused', (args, message) => {
  expect(() => readCall(args)).toThrow(UsageError);
  expect(() => readCall(args)).toThrow(message);
});

test('what is wrong is said in a line, without a trace, and nothing is left', () => {
  const empty = run('--model', '.', '--format', 'hf', '--out', 'x');
  expect(empty).toMatchObject({
    status: 1,
    stdout: '',
    stderr: "can't be exported: config.json is missing\n",
  });
  const unknown = run('--model', '.', '--format', 'gguf', '--out', 'x');
  expect(unknown.status).toBe(1);
  expect(unknown.stderr).toMatch(/^--format gguf is unknown\n\nnpm run export -- --model FOLDER/);
  expect(existsSync(join(folder, 'x'))).toBe(false);
  expect(run('--help')).toMatchObject({ status: 0, stderr: '' });
});

test('a terminal has one line that is written over', () => {
  let text = '';
  const line = new ProgressLine({
    isTTY: true,
    write: (part: string) => {
      text += part;
    },
  });
  for (const done of [0, 1, 1, 2]) line.show('writing', done, 3);
  line.end();
  expect(text).toBe('\rwriting 0 %\rwriting 33 %\rwriting 66 %\r\x1b[K');
});
