import { readFileSync } from 'node:fs';
import { type BleuOptions, corpusBleu, type Smoothing, sentenceBleu } from '@landfall/metrics/bleu.ts';
import { corpusChrf, sentenceChrf } from '@landfall/metrics/chrf.ts';
import { TOKENIZERS, type TokenizerName } from '@landfall/metrics/tokenizers.ts';
import { Differences, type Outcome, UnsupportedCase } from '../outcome.ts';

interface Entry {
  tokenize?: string;
  smooth_method?: Smoothing;
  smooth_value?: number | null;
  effective_order?: boolean;
  lowercase?: boolean;
  hypotheses: string[];
  /** One reference a row. */
  references?: string[];
  /** Streams of references, each with one for every row. */
  references_multi?: (string | null)[][];
  corpus_bleu?: number;
  precisions?: number[];
  brevity_penalty?: number;
  sys_len?: number;
  ref_len?: number;
  sentence_bleu?: number[];
  corpus_chrf?: number;
  sentence_chrf?: number[];
}

const TOLERANCE = 1e-6;

/** Corpus and sentence BLEU and chrF of every entry of the file. */
export async function bleuCase({ file }: { file: string }): Promise<Outcome> {
  const content = JSON.parse(readFileSync(file, 'utf8')) as Entry | Entry[];
  const differences = new Differences();
  for (const entry of [content].flat()) checkEntry(entry, differences);
  return differences.outcome();
}

function checkEntry(entry: Entry, differences: Differences): void {
  const tokenize = entry.tokenize ?? '13a';
  if (!TOKENIZERS.includes(tokenize as TokenizerName))
    throw new UnsupportedCase(`BLEU tokenizer ${tokenize}`);
  const options: BleuOptions = {
    tokenize: tokenize as TokenizerName,
    ...(entry.smooth_method ? { smoothMethod: entry.smooth_method } : {}),
    ...(typeof entry.smooth_value === 'number' ? { smoothValue: entry.smooth_value } : {}),
    ...(entry.effective_order === undefined ? {} : { effectiveOrder: entry.effective_order }),
    ...(entry.lowercase === undefined ? {} : { lowercase: entry.lowercase }),
  };
  const streams = entry.references_multi ?? (entry.references ? [entry.references] : []);
  const rows = entry.hypotheses.map((_, row) => streams.map((stream) => stream[row]));
  const one = (what: string, got: number, expected: number | undefined) => {
    if (expected !== undefined) differences.add(what, Math.abs(got - expected), TOLERANCE);
  };

  const corpus = corpusBleu(entry.hypotheses, rows, options);
  one('corpus_bleu', corpus.score, entry.corpus_bleu);
  one('brevity_penalty', corpus.brevityPenalty, entry.brevity_penalty);
  one('sys_len', corpus.sysLen, entry.sys_len);
  one('ref_len', corpus.refLen, entry.ref_len);
  if (entry.precisions) differences.addAll('precisions', corpus.precisions, entry.precisions, TOLERANCE);
  entry.hypotheses.forEach((hypothesis, row) => {
    one('sentence_bleu', sentenceBleu(hypothesis, rows[row]!, options).score, entry.sentence_bleu?.[row]);
    one('sentence_chrf', sentenceChrf(hypothesis, rows[row]!), entry.sentence_chrf?.[row]);
  });
  one('corpus_chrf', corpusChrf(entry.hypotheses, rows), entry.corpus_chrf);
}
