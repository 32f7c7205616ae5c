import { setImmediate } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SharedWork } from './shared-work.ts';

const LONG_MS = 3_600_000;

/** A work whose end is the test's to say. */
class Piece {
  readonly #ending = Promise.withResolvers<string>();
  readonly number: number;
  readonly key: string;
  readonly signal: AbortSignal;
  over = false;

  constructor(number: number, key: string, signal: AbortSignal) {
    this.number = number;
    this.key = key;
    this.signal = signal;
  }

  get result(): Promise<string> {
    return this.#ending.promise;
  }

  succeed(): void {
    this.over = true;
    this.#ending.resolve(`result ${this.number}`);
  }

  fail(): void {
    this.over = true;
    this.#ending.reject(new Error(`failure ${this.number}`));
  }
}

/** A call as the model has it: what must become of it. */
interface Caller {
  leaving: AbortController;
  piece: Piece;
  outcome: Promise<string>;
  expected: string | undefined;
}

type Step =
  | { does: 'comes'; key: string }
  | { does: 'leaves'; caller: number }
  | { does: 'succeeds' | 'fails'; piece: number };

const index = fc.nat({ max: 20 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ does: fc.constant('comes' as const), key: fc.constantFrom('a', 'b') }),
  fc.record({ does: fc.constant('leaves' as const), caller: index }),
  fc.record({ does: fc.constantFrom('succeeds' as const, 'fails' as const), piece: index }),
);

describe('SharedWork', () => {
  test('whoever comes and leaves in whichever order: one piece of work a key, which lives as long as one waits', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const shared = new SharedWork<string>({ name: 'a test' });
        const pieces: Piece[] = [];
        const callers: Caller[] = [];
        const waitingFor = (piece: Piece) => callers.filter((c) => c.piece === piece && !c.expected);

        const comes = (key: string) => {
          const leaving = new AbortController();
          const before = pieces.findLast(
            (piece) => piece.key === key && !piece.over && !piece.signal.aborted,
          );
          const told = shared.do(key, leaving.signal, LONG_MS, (signal) => {
            const piece = new Piece(pieces.length, key, signal);
            pieces.push(piece);
            return piece.result;
          });
          // A new one only where none was under way that somebody waits for.
          const piece = before ?? pieces.at(-1)!;
          const outcome = told.catch((error: Error) => error.message);
          callers.push({ leaving, piece, outcome, expected: undefined });
        };
        const leaves = (caller: Caller, number: number) => {
          caller.expected ??= `caller ${number} left`;
          caller.leaving.abort(new Error(`caller ${number} left`));
        };
        const ends = (piece: Piece, does: 'succeeds' | 'fails') => {
          const isOver = piece.over;
          if (isOver) return;
          const word = does === 'succeeds' ? 'result' : 'failure';
          for (const caller of waitingFor(piece)) caller.expected = `${word} ${piece.number}`;
          if (does === 'succeeds') piece.succeed();
          else piece.fail();
        };

        for (const one of steps) {
          if (one.does === 'comes') comes(one.key);
          else if (one.does === 'leaves') {
            const number = one.caller % Math.max(1, callers.length);
            if (callers[number]) leaves(callers[number], number);
          } else {
            const piece = pieces[one.piece % Math.max(1, pieces.length)];
            if (piece) ends(piece, one.does);
          }
          await setImmediate();
          for (const piece of pieces)
            if (!piece.over) expect(piece.signal.aborted).toBe(waitingFor(piece).length === 0);
          const alive = pieces.filter((piece) => !piece.over && !piece.signal.aborted);
          expect(new Set(alive.map(({ key }) => key)).size).toBe(alive.length);
        }
        for (const piece of pieces) ends(piece, 'succeeds');
        for (const { outcome, expected } of callers) expect(await outcome).toBe(expected);
      }),
      { numRuns: 300 },
    );
  });

  test('its deadline is its own: it ends the work for all who wait', async () => {
    const shared = new SharedWork<string>({ name: 'a download' });
    const never = new AbortController().signal;
    let signal: AbortSignal | undefined;
    const work = (own: AbortSignal) => {
      signal = own;
      return new Promise<string>(() => {});
    };
    const all = await Promise.allSettled([
      shared.do('a', never, 20, work),
      shared.do('a', never, LONG_MS, work),
    ]);
    const late = { code: status.DEADLINE_EXCEEDED, message: 'a download took longer than 0.02 s' };
    for (const one of all) expect(one).toMatchObject({ status: 'rejected', reason: late });
    expect(signal!.aborted).toBe(true);
    expect(await shared.do('a', never, LONG_MS, async () => 'anew')).toBe('anew');
  });

  test('a failure that is of the caller who began is theirs alone, and each other has one of their own', async () => {
    const shared = new SharedWork<string>({
      name: 'a test',
      isOfCaller: (error) => String(error).includes('may not'),
    });
    const never = new AbortController().signal;
    const as = (who: string, may: boolean) =>
      shared.do('a', never, LONG_MS, async () => {
        await setImmediate();
        if (!may) throw new Error(`${who} may not`);
        return `by ${who}`;
      });
    const all = await Promise.allSettled([
      as('li', false),
      as('wang', false),
      as('chen', true),
      as('zhao', true),
    ]);
    expect(all.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.message))).toEqual([
      'li may not',
      'wang may not',
      'by chen',
      'by chen',
    ]);
  });

  test('one who has left before it begins begins nothing', async () => {
    const shared = new SharedWork<string>({ name: 'a test' });
    let begun = false;
    const work = async () => {
      begun = true;
      return '';
    };
    await expect(shared.do('a', AbortSignal.abort(new Error('gone')), LONG_MS, work)).rejects.toThrow('gone');
    expect(begun).toBe(false);
  });
});
