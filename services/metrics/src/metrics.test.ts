import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type BleuOptions, bleuSignature, corpusBleu, type Smoothing, sentenceBleu } from './bleu.ts';
import { corpusChrf, sentenceChrf } from './chrf.ts';
import { splitWords, strip, stripEnd } from './text.ts';
import { type TokenizerName, tokenize } from './tokenizers.ts';

interface Case {
  bleu: {
    tokenize: TokenizerName;
    smooth_method: Smoothing;
    smooth_value: number | null;
    effective_order: boolean;
    lowercase: boolean;
    max_ngram_order: number;
  };
  chrf: {
    char_order: number;
    word_order: number;
    beta: number;
    lowercase: boolean;
    whitespace: boolean;
    eps_smoothing: boolean;
  };
  hypotheses: string[];
  references: string[][];
  expected: {
    bleu: number;
    precisions: number[];
    bp: number;
    sys_len: number;
    ref_len: number;
    chrf: number;
    signature: string;
  };
}

// LANDFALL_SACREBLEU_CASES: a larger file of the same layout, to look further than the committed one.
const more = process.env.LANDFALL_SACREBLEU_CASES;
const files = [new URL('../test/fixtures/sacrebleu.json', import.meta.url), ...(more ? [more] : [])];
const cases = files.flatMap((file) => (JSON.parse(readFileSync(file, 'utf8')) as { cases: Case[] }).cases);

describe('scores equal to sacrebleu', () => {
  it.each(cases.map((c, i) => [i, c.bleu.tokenize, c.bleu.smooth_method, c] as const))(
    'case %i (%s, %s)',
    (_index, _tokenize, _smooth, c) => {
      const rows = c.hypotheses.map((_, row) => c.references.map((references) => references[row]!));
      const options: BleuOptions = {
        tokenize: c.bleu.tokenize,
        smoothMethod: c.bleu.smooth_method,
        ...(c.bleu.smooth_value === null ? {} : { smoothValue: c.bleu.smooth_value }),
        effectiveOrder: c.bleu.effective_order,
        lowercase: c.bleu.lowercase,
        maxNgramOrder: c.bleu.max_ngram_order,
      };
      const got = corpusBleu(c.hypotheses, rows, options);
      expect(got.score).toBeCloseTo(c.expected.bleu, 8);
      got.precisions.forEach((p, n) => {
        expect(p).toBeCloseTo(c.expected.precisions[n]!, 8);
      });
      expect(got.brevityPenalty).toBeCloseTo(c.expected.bp, 10);
      expect([got.sysLen, got.refLen]).toEqual([c.expected.sys_len, c.expected.ref_len]);
      expect(bleuSignature(options, c.references.length)).toBe(c.expected.signature);
      const chrf = corpusChrf(c.hypotheses, rows, {
        charOrder: c.chrf.char_order,
        wordOrder: c.chrf.word_order,
        beta: c.chrf.beta,
        lowercase: c.chrf.lowercase,
        whitespace: c.chrf.whitespace,
        epsSmoothing: c.chrf.eps_smoothing,
      });
      expect(chrf).toBeCloseTo(c.expected.chrf, 8);
    },
  );
});

describe('edges', () => {
  it('scores an empty answer 0 and a whole match 100', () => {
    expect(sentenceBleu('', ['好']).score).toBe(0);
    expect(sentenceBleu('好', ['好']).score).toBeCloseTo(100, 10);
    expect(sentenceChrf('', ['好'])).toBe(0);
    expect(corpusBleu([], []).score).toBe(0);
  });

  it('takes rows with different numbers of references', () => {
    const got = corpusBleu(
      ['甲乙丙丁', '甲乙'],
      [
        ['甲乙丙丁', undefined],
        ['丙丁', '甲乙'],
      ],
    );
    expect(got.score).toBeCloseTo(100, 10);
  });

  it('names the row that has no reference', () => {
    expect(() => corpusBleu(['甲'], [[undefined]])).toThrow(/row 1 has no reference/);
    expect(() => corpusChrf(['甲'], [])).toThrow(/1 hypotheses but references of 0 rows/);
  });

  it('keeps numbers whole and sets Chinese, ℃ and marks apart', () => {
    expect(tokenize('zh', '体温38.5℃,1,000次')).toBe('体 温 38.5 ℃ , 1,000 次');
    expect(tokenize('13a', 'Say &quot;no&quot;, 2024-03.')).toBe('Say " no " , 2024 - 03 .');
    expect(tokenize('char', 'a b')).toBe('a   b');
  });

  it("has Python's white space", () => {
    expect(splitWords('a\x1cb\x85c\ufeffd\u3000e')).toEqual(['a', 'b', 'c\ufeffd', 'e']);
    expect(strip(' \x1fa b\u2028')).toBe('a b');
    expect(stripEnd(' a \x85')).toBe(' a');
  });
});
