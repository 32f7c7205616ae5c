import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeModel } from './make-model.ts';
import { lcg } from './random.ts';
import { Report } from './report.ts';
import { run } from './serve.ts';
import { closedLoop, promptOf } from './serve-load.ts';
import { OpenAiTarget } from './serve-target.ts';

const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-test-'));
const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 1e6);
const random = lcg(seed);
let server: Server;
/** Bodies that came in, and how many tokens the server says a prompt has beside its letters. */
const bodies: Record<string, unknown>[] = [];
let surplus = 0;

/** An OpenAI-compatible server whose stream is cut anywhere, within a character too. */
beforeAll(async () => {
  console.log(`LANDFALL_TEST_SEED=${seed}`);
  server = createServer(async (request, response) => {
    const body = JSON.parse((await request.setEncoding('utf8').toArray()).join(''));
    bodies.push(body);
    if (body.prompt === 'refuse') {
      response.writeHead(503).end('busy');
      return;
    }
    const usage = { prompt_tokens: body.prompt.length + surplus, completion_tokens: body.max_tokens };
    const chunks = [
      ...Array.from({ length: body.max_tokens }, () => ({ choices: [{ text: '血\n' }], usage: null })),
      { choices: [], usage },
    ];
    const lines = [...chunks.map((chunk) => JSON.stringify(chunk)), '[DONE]'];
    const bytes = Buffer.from(lines.map((line) => `data: ${line}\r\n\r\n`).join(''));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + Math.floor(random() * 120);
      response.write(bytes.subarray(at, end));
      at = end;
      await new Promise(setImmediate);
    }
    response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterAll(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true, force: true });
});

const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

test('a stream of events is read however it is cut, and counted by what the server says', async () => {
  const target = new OpenAiTarget(`${url()}/v1/`, 'm');
  const answered = await target.generate({ prompt: 'abc', maxTokens: 5 });
  expect(answered).toMatchObject({ inputTokens: 3, outputTokens: 5, text: '血\n'.repeat(5) });
  expect(answered.arrivals).toHaveLength(5);
  expect(bodies.at(-1)).toMatchObject({ model: 'm', max_tokens: 5, temperature: 0, cache_prompt: false });
  target.close();
});

test('a server that counts other tokens than were asked for is no peer', async () => {
  const target = new OpenAiTarget(url(), 'm');
  const asked = { prompt: promptOf(8, random), maxTokens: 2 };
  await expect(closedLoop(target, [[asked]], 8)).resolves.toMatchObject({ gapsMs: [expect.any(Number)] });
  surplus = 1;
  await expect(closedLoop(target, [[asked]], 8)).rejects.toThrow('9 and 2');
  surplus = 0;
  await expect(target.generate({ ...asked, prompt: 'refuse' })).rejects.toThrow('answered 503: busy');
  target.close();
});

test('a replica and a peer are measured by turns on the same prompts, which are new in each round', async () => {
  makeModel(join(folder, 'model'), 'tiny');
  bodies.length = 0;
  const report = new Report('serve');
  const options = ['--streams', '1,3', '--prompt', '12', '--new', '4', '--rounds', '2', '--each', '2'];
  const more = ['--threads', '1', '--against', url(), '--against-label', 'x'];
  const facts = await run(report, ['--model', join(folder, 'model'), ...options, ...more]);
  expect(facts).toMatchObject({ quantization: 'float32', prompt: 12, new: 4, against: 'x' });
  // A warm-up of one request a stream, then two rounds of two.
  expect(bodies).toHaveLength((1 + 3) * (1 + 2 * 2));
  expect(new Set(bodies.map(({ prompt }) => prompt)).size).toBe(bodies.length);
  const { figures, ratios } = report;
  for (const streams of [1, 3])
    for (const what of ['tokens-per-second', 'time-to-first-token', 'between-tokens']) {
      expect(figures[`float32.${streams}-streams.${what}`]).toBeGreaterThan(0);
      expect(ratios[`float32.${streams}-streams.${what}`]).toBeGreaterThan(0);
    }
  for (const precision of ['float32', 'int8'])
    expect(ratios[`engine-step-over-bare-run.${precision}`]).toBeGreaterThan(0);
  // That server answers every prompt alike, which the model does not.
  expect(figures['float32.3-streams.same-answers']).toBe(0);
});

test('figures beside the streams: adapters of a registry, prefixes, the event loop, memory', async () => {
  makeModel(join(folder, 'model'), 'tiny');
  const report = new Report('serve');
  const only = ['--only', 'adapters,event-loop,memory,prefix', '--requests', '40', '--rounds', '1'];
  const options = ['--streams', '2', '--prompt', '8', '--new', '3', '--each', '1', '--threads', '1'];
  await run(report, ['--model', join(folder, 'model'), ...options, ...only]);
  expect(report.figures['memory.requests']).toBe(40);
  expect(report.figures['event-loop.longest-delay']).toBeGreaterThanOrEqual(0);
  for (const name of ['adapters.of-base', 'memory.last-of-first', 'prefix.time-to-first-token'])
    expect(report.ratios[name]).toBeGreaterThan(0);
  await expect(run(report, ['--model', folder, '--only', 'nothing'])).rejects.toThrow('--only is of streams');
});
