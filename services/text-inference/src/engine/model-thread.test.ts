import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeTokenizer } from '../../test/tiny-model.ts';
import { ModelThread, type RequestEvent } from './model-thread.ts';
import { PromptThread } from './prompt-thread.ts';
import type { ModelThreadOptions } from './protocol.ts';
import type { EngineRequest } from './sequence.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'model-thread-'));
  writeTokenizer(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function options(): ModelThreadOptions {
  return {
    runner: { folder, cacheFolder: folder, threads: 1, maxBatch: 4, blockSize: 4, adapterSlots: 2 },
    limits: { maxBatch: 4, maxPrefillTokens: 64, maxChunkTokens: 16 },
    runnerModule: new URL('../../test/fake-runner-module.ts', import.meta.url).href,
  };
}

function request(id: string, more: Partial<EngineRequest> = {}): EngineRequest {
  const sampling = { temperature: 0, topK: 0, topP: 1, seed: 0n, topLogprobs: 1 };
  const caller = { tenant: 'default', client: 'one', priority: 0 };
  return { id, prompt: [1, 50, 60], ...caller, sampling, maxTokens: 8, stop: [], ignoreEos: true, ...more };
}

async function collect(events: AsyncIterable<RequestEvent>): Promise<RequestEvent[]> {
  const all: RequestEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}
const never = new AbortController().signal;

describe('ModelThread', () => {
  test('runs requests together while the caller thread stays free', async () => {
    const model = await ModelThread.start(options());
    let longest = 0;
    let last = performance.now();
    const ticks = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const answers = await Promise.all(
      ['a', 'b', 'c'].map((id) => collect(model.generate(request(id), never))),
    );
    clearInterval(ticks);
    for (const events of answers) {
      expect(events).toHaveLength(8);
      expect(events.at(-1)?.finish).toBe('length');
      // Whoever comes while another already answers is prefilled beside that one's step.
      expect(events[0]?.step.kind).toMatch(/^(prefill|mixed)$/);
      expect(events[0]?.logprob?.bytes).toBeInstanceOf(Uint8Array);
      expect(events.map((e) => e.text)).toEqual(answers[0]!.map((e) => e.text));
    }
    console.log(`longest gap of the event loop ${longest.toFixed(1)} ms over steps of 10 ms`);
    expect(model.load).toMatchObject({
      running: 0,
      queued: 0,
      freeBlocks: 64,
      finished: 3,
      outputTokens: 24,
    });
    await model.close();
  });

  test('leaving the iteration and the signal both stop the work within one step', async () => {
    const model = await ModelThread.start(options());
    let steps = 0;
    for await (const _ of model.generate(request('left', { maxTokens: 100 }), never))
      if (++steps === 2) break;
    const abort = new AbortController();
    const aborted = collect(model.generate(request('aborted', { maxTokens: 100 }), abort.signal));
    setTimeout(() => abort.abort(new Error('gone')), 35);
    await expect(aborted).rejects.toThrow('gone');
    // A later request's events show that the others are out of the batch.
    const events = await collect(model.generate(request('c'), never));
    expect(events.slice(1).every((e) => e.step.rows === 1)).toBe(true);
    expect(model.load).toMatchObject({ running: 0, freeBlocks: 64 });
    expect(model.load.outputTokens).toBeLessThan(30);
    await model.close();
  });

  test('adapters: usable while others run, refused by reason, unloaded after the last request', async () => {
    const model = await ModelThread.start(options());
    const missing = collect(model.generate(request('x', { adapter: 'one' }), never));
    await expect(missing).rejects.toMatchObject({ refusal: 'adapter-missing' });
    const base = collect(model.generate(request('base', { maxTokens: 30 }), never));
    expect(await model.loadAdapter('one', '/adapters/one')).toMatchObject({ changed: true });
    expect(await model.loadAdapter('one', '/adapters/one')).toMatchObject({ changed: false });
    await expect(model.loadAdapter('two', '/adapters/bad')).rejects.toMatchObject({
      refusal: 'adapter-unusable',
    });
    const tuned = collect(model.generate(request('tuned', { adapter: 'one', maxTokens: 20 }), never));
    const unloaded = model.unloadAdapter('one').then(() => model.load.adapters);
    expect((await tuned).map((e) => e.text)).not.toEqual((await base).slice(0, 20).map((e) => e.text));
    expect(await unloaded).toEqual([]);
    await model.close();
  });

  test('close ends what still runs and gives the thread back', async () => {
    const model = await ModelThread.start(options());
    const running = collect(model.generate(request('a', { maxTokens: 100 }), never));
    const ended = expect(running).rejects.toThrow('closing');
    await new Promise((resolve) => setTimeout(resolve, 30));
    await model.close();
    await ended;
  });

  test('a folder that can not be loaded is an error with its reason', async () => {
    const bad = options();
    bad.runner.folder = path.join(folder, 'missing');
    await expect(ModelThread.start(bad)).rejects.toThrow('tokenizer.json');
  });
});

describe('PromptThread', () => {
  test('encodes chats and texts, and names the field of what it refuses', async () => {
    const prompts = await PromptThread.start({ folder, contextLength: 32 });
    expect((await prompts.encode({ text: 'abc' })).prompt).toHaveLength(4);
    const messages = [{ role: 'user', content: 'abc' }];
    expect((await prompts.encode({ messages })).prompt).toHaveLength(7);
    const answered = await prompts.encode({ messages }, 'de');
    expect(answered.prompt).toHaveLength(7);
    // Two bytes and the end of the turn.
    expect(answered.completion).toHaveLength(3);
    await expect(prompts.encode({ messages }, 'x'.repeat(30))).rejects.toMatchObject({ field: 'completion' });
    await expect(prompts.encode({ text: '<s>' })).rejects.toMatchObject({ field: 'prompt' });
    await expect(prompts.encode({ text: 'x'.repeat(40) })).rejects.toThrow('41 tokens leave no room');
    const long = [{ role: 'user', content: 'x'.repeat(1_000_000) }];
    await expect(prompts.encode({ messages: long })).rejects.toMatchObject({ field: 'messages' });
    await prompts.close();
  });
});
