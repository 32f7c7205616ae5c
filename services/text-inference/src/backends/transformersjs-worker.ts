/**
 * Entry of the thread that runs transformers.js: one request at a time, its n answers as one batch. Tokens are chosen and
 * turned into text as our own engine does it, so that a seed means the same.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { env } from '@huggingface/transformers';
import { GrammarError } from '../engine/grammar/grammar-state.ts';
import { Grammars } from '../engine/grammar/grammars.ts';
import { Vocabulary } from '../engine/grammar/vocabulary.ts';
import { loadTokenizer } from '../engine/tokenizer.ts';
import { Answers } from './transformersjs-answers.ts';
import { exportedVision } from './transformersjs-families.ts';
import { ExportedModel } from './transformersjs-model.ts';
import type { FromThread, JobEvent, ThreadOptions, ToThread } from './transformersjs-protocol.ts';

const port = parentPort!;
const send = (message: FromThread) => port.postMessage(message);

try {
  const { folder, threads } = workerData as ThreadOptions;
  env.allowRemoteModels = false;
  const vision = exportedVision(folder);
  const tokenizer = await loadTokenizer(folder, vision?.text);
  const grammars = new Grammars(new Vocabulary(tokenizer.vocabulary(), tokenizer.endTokens));
  const model = await ExportedModel.open(folder, vision, threads);
  // One after the other: what comes while a request runs waits for it here.
  let last: Promise<unknown> = Promise.resolve();
  const run = async (message: Exclude<ToThread, { type: 'close' }>) => {
    const { call, job, left } = message;
    try {
      if (message.type === 'generate') {
        const { requests } = message.job;
        const tell = (event: JobEvent) => send({ type: 'event', call, event });
        const answers = new Answers(requests, tokenizer, (spec) => grammars.start(spec), tell);
        await model.generate(message.job, answers, left);
        send({ type: 'done', call });
      } else if (Atomics.load(left, 0) === 0) {
        send({ type: 'scored', call, logProbability: await model.score(message.job) });
      }
    } catch (error) {
      const byConstraint = error instanceof GrammarError;
      const why = error instanceof Error ? error.message : String(error);
      send({ type: 'call-failed', call, byConstraint, message: why });
    }
    // What it has seen may be large, and the next one's is on its way.
    delete job.seen;
  };
  port.on('message', (message: ToThread) => {
    last = last.then(async () => {
      if (message.type !== 'close') return run(message);
      await model.dispose();
      port.close();
    });
  });
  const { contextLength, vocabularySize, answersApart } = model;
  send({ type: 'ready', contextLength, vocabularySize, answersApart, vision });
} catch (error) {
  send({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
  port.close();
}
