import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FakeRunner } from '../../test/fake-runner.ts';
import { Engine, type SequenceEvent } from './engine.ts';
import type { EngineRequest } from './sequence.ts';

/** Every token is a letter, so that text shows the tokens. */
const decode = (tokens: number[]) => tokens.map((t) => String.fromCharCode(65 + t)).join('');

function request(id: string, options: Partial<EngineRequest> = {}): EngineRequest {
  return {
    id,
    prompt: [1, 2, 3],
    sampling: { temperature: 0, topK: 0, topP: 1, seed: 0n },
    maxTokens: 6,
    stop: [],
    ignoreEos: true,
    tenant: 'default',
    client: 'one',
    priority: 0,
    ...options,
  };
}

function engineOf(
  runner = new FakeRunner(),
  limits = { maxBatch: 4, maxPrefillTokens: 16, maxChunkTokens: 8 },
  eos: number[] = [],
) {
  const left: string[] = [];
  const engine = new Engine({ runner, decode, eos: new Set(eos), limits, onLeave: (r) => left.push(r.id) });
  return { engine, runner, left };
}

interface Answer {
  text: string;
  tokens: number;
  events: SequenceEvent[];
  last?: SequenceEvent;
}

/** Steps until idle; `between` runs after each step. */
async function drain(
  engine: Engine,
  between: (step: number) => void = () => {},
): Promise<Map<string, Answer>> {
  const answers = new Map<string, Answer>();
  for (let step = 0; engine.busy; step++) {
    if (step > 10_000) throw new Error('the engine does not come to an end');
    const report = await engine.step();
    for (const event of report?.events ?? []) {
      const answer = answers.get(event.id) ?? { text: '', tokens: 0, events: [] };
      answer.text += event.text;
      answer.tokens += event.tokens;
      answer.events.push(event);
      if (event.finish) answer.last = event;
      answers.set(event.id, answer);
    }
    between(step);
  }
  return answers;
}

/** Slots 2 and 3 have virtual tokens. */
function runnerWithPrefixes(blocks = 32): FakeRunner {
  const runner = new FakeRunner({ blocks });
  runner.prefixes = { 2: 3, 3: 4 };
  return runner;
}

async function alone(r: EngineRequest, slot = 0): Promise<Answer> {
  const { engine } = engineOf(runnerWithPrefixes());
  engine.submit(r, slot);
  return (await drain(engine)).get(r.id)!;
}

describe('Engine', () => {
  test('ends at max tokens, at an end token, and at a stop string across tokens', async () => {
    const free = await alone(request('a'));
    expect(free).toMatchObject({ tokens: 6, last: { finish: 'length' } });
    expect(free.text).toHaveLength(6);

    const third = free.text.charCodeAt(2) - 65;
    const { engine } = engineOf(new FakeRunner(), undefined, [third]);
    engine.submit(request('eos', { ignoreEos: false }), 0);
    engine.submit(request('on', { ignoreEos: true }), 0);
    const answers = await drain(engine);
    expect(answers.get('eos')).toMatchObject({
      text: free.text.slice(0, 2),
      tokens: 3,
      last: { finish: 'stop' },
    });
    expect(answers.get('on')).toMatchObject({ text: free.text, last: { finish: 'length' } });

    const stop = free.text.slice(2, 4);
    const stopped = await alone(request('a', { stop: [stop] }));
    expect(stopped).toMatchObject({ text: free.text.slice(0, 2), tokens: 4, last: { finish: 'stop', stop } });
    expect(stopped.events[2]!.text).toBe('');
  });

  test('what was held back for a stop string comes with the end', async () => {
    const free = await alone(request('a'));
    const never = await alone(request('a', { stop: [`${free.text.slice(-2)}!`] }));
    expect(never.text).toBe(free.text);
  });

  test('requests join and leave at any step, mixed adapters, small pool: each answers as if alone', async () => {
    // Few tokens, so that prompts begin alike and guesses find something.
    const prompt = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 20 });
    const arrival = fc.record({
      prompt,
      maxTokens: fc.integer({ min: 1, max: 20 }),
      slot: fc.integer({ min: 0, max: 3 }),
      temperature: fc.constantFrom(0, 0.7, 1.5),
      topK: fc.constantFrom(0, 5),
      topP: fc.constantFrom(1, 0.8),
      seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      at: fc.integer({ min: 0, max: 20 }),
      promptLookup: fc.constantFrom(0, 0, 3),
      priority: fc.constantFrom(-1, 0, 0, 1),
      client: fc.constantFrom('one', 'two'),
      completion: fc.option(prompt, { nil: undefined, freq: 4 }),
      cancelAt: fc.option(fc.integer({ min: 0, max: 30 }), { nil: undefined, freq: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { minLength: 1, maxLength: 8 }), async (arrivals) => {
        // 11 blocks of 4 hold one longest request and a little: preemption happens.
        const { engine, left } = engineOf(runnerWithPrefixes(11), {
          maxBatch: 3,
          maxPrefillTokens: 16,
          maxChunkTokens: 8,
        });
        const requests = arrivals.map((a, i) =>
          request(`r${i}`, {
            prompt: a.prompt,
            maxTokens: a.maxTokens,
            completion: a.completion,
            adapter: a.slot === 0 ? undefined : `slot ${a.slot}`,
            promptLookup: a.promptLookup,
            priority: a.priority,
            client: a.client,
            sampling: { temperature: a.temperature, topK: a.topK, topP: a.topP, seed: a.seed },
          }),
        );
        const submitted = new Set<string>();
        const cancelled = new Set<string>();
        const at = (step: number, force = false) => {
          for (const [i, a] of arrivals.entries()) {
            if ((a.at <= step || force) && !submitted.has(`r${i}`)) {
              engine.submit(requests[i]!, a.slot);
              submitted.add(`r${i}`);
            }
            if (a.cancelAt === step && engine.cancel(`r${i}`)) cancelled.add(`r${i}`);
          }
        };
        at(0);
        if (!engine.busy) at(0, true);
        const answers = await drain(engine, (step) => {
          at(step + 1);
          if (!engine.busy && submitted.size < arrivals.length) at(step, true);
        });
        expect(engine.load).toMatchObject({ running: 0, queued: 0, freeBlocks: 11 });
        expect([...left].sort()).toEqual(requests.map((r) => r.id).sort());
        for (const [i, r] of requests.entries()) {
          if (cancelled.has(r.id)) continue;
          const expected = await alone({ ...r, promptLookup: 0 }, arrivals[i]!.slot);
          expect(answers.get(r.id)?.text).toBe(expected.text);
          expect(answers.get(r.id)?.last?.logProbability).toBe(expected.last?.logProbability);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('a completion is scored by the log-probabilities that its tokens would have had', async () => {
    const sampling = { temperature: 0, topK: 0, topP: 1, seed: 0n, topLogprobs: 1 };
    const free = await alone(request('a', { sampling }), 2);
    const tokens = free.events.map((event) => event.logprob!.token);
    const sum = free.events.reduce((total, event) => total + event.logprob!.logprob, 0);
    const scored = await alone(request('b', { completion: tokens }), 2);
    expect(scored).toMatchObject({ text: '', tokens: 0, last: { finish: 'scored' } });
    expect(scored.last!.logProbability).toBeCloseTo(sum, 4);
  });

  test("an adapter's virtual tokens take their part of the context", async () => {
    const { engine } = engineOf(runnerWithPrefixes());
    const prompt = new Array(50).fill(1);
    engine.submit(request('a', { prompt, maxTokens: 14 }), 3);
    expect((await drain(engine)).get('a')).toMatchObject({ tokens: 10, last: { finish: 'length' } });
    const full = request('b', { prompt: new Array(60).fill(1), maxTokens: 4 });
    expect(() => engine.submit(full, 3)).toThrow("no room beside the adapter's 4 virtual tokens in 64");
    const completion = new Array(12).fill(1);
    expect(() => engine.submit(request('c', { prompt, completion }), 3)).toThrow('no room');
    expect(() => engine.submit(request('d', { completion: [] }), 3)).toThrow('no tokens');
  });

  test('log-probabilities come with each token', async () => {
    const answer = await alone(
      request('a', { sampling: { temperature: 0, topK: 0, topP: 1, seed: 0n, topLogprobs: 2 } }),
    );
    for (const event of answer.events) {
      expect(event.logprob?.top).toHaveLength(2);
      expect(event.logprob?.top[0]?.token).toBe(event.logprob?.token);
      expect(event.logprob!.logprob).toBeLessThan(0);
    }
  });

  test('a cancelled request takes no further step', async () => {
    const { engine, runner, left } = engineOf();
    engine.submit(request('a', { maxTokens: 40 }), 0);
    await engine.step();
    await engine.step();
    expect(engine.cancel('a')).toBe(true);
    expect(engine.busy).toBe(false);
    expect(await engine.step()).toBeUndefined();
    expect(runner.steps).toBe(2);
    expect(left).toEqual(['a']);
    expect(engine.cancel('a')).toBe(false);
  });

  test('a step that fails ends its requests with an error, and the next ones run', async () => {
    const runner = new FakeRunner();
    const { engine } = engineOf(runner);
    runner.beforeStep = () => {
      throw new Error('out of memory');
    };
    engine.submit(request('a'), 0);
    const failed = await drain(engine);
    expect(failed.get('a')?.last).toMatchObject({ finish: 'error', error: 'out of memory' });
    runner.beforeStep = () => {};
    engine.submit(request('b'), 0);
    expect((await drain(engine)).get('b')?.tokens).toBe(6);
    expect(engine.load.freeBlocks).toBe(32);
  });

  test('one row that is not finite ends that request alone', async () => {
    const runner = new FakeRunner();
    const run = runner.run.bind(runner);
    runner.run = async (rows) => {
      const logits = await run(rows);
      return logits.map((row, i) => (rows[i]!.tokens[0] === 9 ? row.fill(Number.NaN) : row));
    };
    const { engine } = engineOf(runner);
    engine.submit(request('bad', { prompt: [9] }), 0);
    engine.submit(request('good'), 0);
    const answers = await drain(engine);
    expect(answers.get('bad')?.last?.finish).toBe('error');
    expect(answers.get('good')).toMatchObject({ tokens: 6, last: { finish: 'length' } });
  });

  test('what could never run is refused at once', () => {
    const { engine } = engineOf();
    const refused = (r: Partial<EngineRequest>) => expect(() => engine.submit(request('a', r), 0));
    refused({ prompt: [] }).toThrow('no tokens');
    refused({ maxTokens: 0 }).toThrow('maxTokens');
    refused({ maxTokens: Number.NaN }).toThrow('maxTokens');
    refused({ maxTokens: 62 }).toThrow('more than 64');
    refused({ prompt: [50] }).toThrow('outside the vocabulary');
    expect(engine.busy).toBe(false);
  });
});
