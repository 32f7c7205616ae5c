import { readConfig } from './config.ts';
import { sweepReplicas } from './sweep.ts';

/** Prints `{"ended":N}`, the number of left replicas that were ended. */
const ended = await sweepReplicas(readConfig(process.env));
process.stdout.write(`${JSON.stringify({ ended })}\n`);
