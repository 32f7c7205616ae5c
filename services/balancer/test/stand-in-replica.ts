/**
 * A replica for tests: the contract of text-inference over a simulated engine that gives one token at a time. What a
 * prompt says decides what happens: `count N` answers N tokens, `hang` none, `die` ends the process before a token,
 * `die-after N` after N tokens, `fail-on MODEL` fails where that model is asked for, `grow N` holds N MiB from then on.
 */

import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { failedPrecondition, unavailable } from '@landfall/common/errors/errors.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { runService } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

const { env } = process;
const base = env.LANDFALL_MODEL!;
const stepMs = Number(env.STAND_IN_STEP_MS || 5);
const startMs = Number(env.STAND_IN_START_MS || 0);
const adapters: string[] = [];
const draining = new AbortController();
const changed = new Set<() => void>();
const held: Buffer[] = [];
let running = 0;
let finished = 0n;
let loaded = false;

const say = (fact: object) => process.stdout.write(`${JSON.stringify(fact)}\n`);
const load = () => ({
  running,
  runningTokens: BigInt(running * 100),
  stepMs,
  adapters: [...adapters],
  maxBatch: Number(env.LANDFALL_TEXT_MAX_BATCH || 4),
  base,
  finished,
  totalBlocks: 64,
  freeBlocks: 64 - running,
});
const tell = () => {
  for (const listener of changed) listener();
};

const server = new RpcServer({
  signer: new IdentitySigner(readFileSync(env.LANDFALL_MESH_KEY_FILE!)),
  logger: createLogger('stand-in', 'silent'),
}).add(TextInferenceService, {
  async *generate({ prompt, model }, call) {
    const [what = '', number = '3'] = prompt.split(' ');
    if (what === 'die') process.exit(7);
    if (what === 'fail-on' && number === model) throw new Error('made to fail');
    running++;
    tell();
    try {
      yield { model: model || base, load: load() };
      if (what === 'hang') await delay(600_000, undefined, { signal: call.signal });
      if (what === 'grow') held.push(Buffer.alloc(Number(number) * 2 ** 20, held.length + 1));
      const tokens = what === 'grow' ? 1 : Number.parseInt(number, 10) || 1;
      for (let token = 1; token <= tokens; token++) {
        await delay(stepMs, undefined, { signal: call.signal });
        yield { delta: `${process.pid} `, load: load() };
      }
      if (what === 'die-after') process.exit(7);
      const usage = { inputTokens: 1, outputTokens: tokens };
      yield { finishReason: FinishReason.LENGTH, usage, load: load() };
    } finally {
      running--;
      finished++;
      if (call.signal.aborted) say({ cancelled: prompt });
      tell();
    }
  },
  async loadAdapter({ model }) {
    if (model.includes('/wrong-base/')) throw failedPrecondition(`${model} was made for another base`);
    const alreadyLoaded = adapters.includes(model);
    if (!alreadyLoaded) adapters.push(model);
    say({ loadAdapter: model });
    tell();
    return { model, loadMs: 1, alreadyLoaded };
  },
  unloadAdapter({ model }) {
    const at = adapters.indexOf(model);
    if (at >= 0) adapters.splice(at, 1);
    say({ unloadAdapter: model });
    tell();
    return { unloaded: at >= 0 };
  },
  getLoad() {
    if (!loaded) throw unavailable('the base is being loaded');
    return { load: load() };
  },
  async *watchLoad({ intervalMs }, call) {
    const signal = AbortSignal.any([call.signal, draining.signal]);
    while (!signal.aborted) {
      const next = new Promise<void>((resolve) => {
        const end = () => {
          changed.delete(end);
          resolve();
        };
        changed.add(end);
        signal.addEventListener('abort', end, { once: true });
      });
      yield { load: load() };
      await delay(intervalMs, undefined, { signal }).catch(() => {});
      await next;
    }
    throw unavailable('draining');
  },
});

await runService('stand-in', async () => ({
  async start() {
    if (env.STAND_IN_FAIL) throw new Error('this replica was made to fail');
    const [host, port] = env.LANDFALL_LISTEN!.split(':');
    await server.listen(host!, Number(port));
    await delay(startMs);
    loaded = true;
    say({
      quantization: env.LANDFALL_TEXT_QUANTIZATION ?? '',
      maxBatch: env.LANDFALL_TEXT_MAX_BATCH ?? '',
      threads: env.LANDFALL_TEXT_THREADS ?? '',
    });
    server.health.set('readiness', true);
    return { replica: env.LANDFALL_REPLICA_ID, tenant: env.LANDFALL_TENANT };
  },
  async [Symbol.asyncDispose]() {
    draining.abort();
    await server.drain(Number(env.LANDFALL_GRACE_MS || 2000));
  },
}));
