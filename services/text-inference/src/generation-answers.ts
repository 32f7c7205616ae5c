/** Several answers to one prompt as one stream. */

/**
 * Starts all of them and yields events as they come, with the index of the answer. When the iteration is left, or one
 * of them fails, all are stopped, and have stopped when it ends.
 */
export async function* interleaved<Event>(
  starts: readonly ((signal: AbortSignal) => AsyncGenerator<Event>)[],
  signal: AbortSignal,
): AsyncGenerator<{ index: number; event: Event }, void, void> {
  const left = new AbortController();
  const either = AbortSignal.any([signal, left.signal]);
  const answers = starts.map((start) => start(either));
  const pending = new Map<number, Promise<{ index: number; result: IteratorResult<Event> }>>();
  const ask = (index: number) => {
    const next = answers[index]!.next().then((result) => ({ index, result }));
    // Whoever fails first is heard; the others fail since they are stopped.
    next.catch(() => {});
    pending.set(index, next);
  };
  try {
    for (const index of answers.keys()) ask(index);
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(index);
        continue;
      }
      yield { index, event: result.value };
      ask(index);
    }
  } finally {
    left.abort(new Error('the other answers are not wanted any more'));
    await Promise.allSettled(answers.map((answer) => answer.return(undefined)));
  }
}
