/** `node test/src/bench/mesh-echo/main.ts`: the chassis' server against a bare one, as one line of JSON. */
import { compareEcho } from './measure.ts';

process.stdout.write(`${JSON.stringify(await compareEcho())}\n`);
