import { IGNORED, type Sequence } from './packing.ts';

/** A batch that can't be computed, and which sequence is why. */
export class BatchError extends Error {
  override name = 'BatchError';
}

export interface BatchLimits {
  vocabSize: number;
  /** Longest sequence, tokens. */
  maxLength: number;
  /** Whether there is no result without a label. */
  needsLabels: boolean;
}

/**
 * Looks at a batch before it is run: the runtime's own errors name a node and not a sequence, and it takes negative
 * tokens as counted from the end.
 * @throws BatchError for no token at all, a sequence that is too long, tokens or labels outside the vocabulary, labels
 *   of another number than tokens, and for no label that has a token before it where labels are needed
 */
export function checkBatch(sequences: readonly Sequence[], limits: BatchLimits): void {
  const { vocabSize, maxLength, needsLabels } = limits;
  const isToken = (id: number) => Number.isInteger(id) && id >= 0 && id < vocabSize;
  let tokens = 0;
  let labelled = 0;
  for (const [s, { ids, labels }] of sequences.entries()) {
    const refuse = (what: string) => new BatchError(`sequence ${s} of the batch ${what}`);
    if (ids.length > maxLength) throw refuse(`has ${ids.length} tokens; at most ${maxLength} are allowed`);
    if (labels.length !== ids.length) throw refuse(`has ${ids.length} tokens and ${labels.length} labels`);
    for (let t = 0; t < ids.length; t++) {
      const [id, label] = [ids[t]!, labels[t]!];
      if (!isToken(id)) throw refuse(`has the token ${id} at ${t}; the vocabulary has ${vocabSize}`);
      if (label === IGNORED) continue;
      if (!isToken(label)) throw refuse(`has the label ${label} at ${t}; the vocabulary has ${vocabSize}`);
      // The first token has none before it that could foretell it.
      if (t > 0) labelled++;
    }
    tokens += ids.length;
  }
  if (tokens === 0) throw new BatchError('the batch has no token');
  if (needsLabels && labelled === 0)
    throw new BatchError(
      'the batch has no label to learn from: all are masked, or have no token before them',
    );
}
