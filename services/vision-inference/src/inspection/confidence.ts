import type { TokenLogprob } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { Answer, Span } from './answer.ts';

/** How sure a model was, by the probabilities of its tokens. */
export interface Confidence {
  /** Probability that the piece has a defect: that of beginning a first one, against ending the list. */
  defect: number;
  /** For each finding: probability that it is there and of its type. */
  findings: number[];
  /** Probability of one more than the answer names, against the end of the list; 0 without a list. */
  another: number;
}

/** A token and its place in the answer. */
interface Placed extends Span {
  token: TokenLogprob;
}

/**
 * Confidence by the tokens at which something was decided, among what the schema would have allowed there. What a
 * tokeniser glues together (`[]`, `,{"`) is read by its characters.
 *
 * @param ids the catalogue's
 * @returns undefined where the backend tells no probabilities, or not those of this text
 */
export function confidenceOf(
  text: string,
  { findings, decisionAt, endAt }: Answer,
  logprobs: readonly TokenLogprob[],
  ids: readonly string[],
): Confidence | undefined {
  const tokens = place(text, logprobs);
  if (!tokens) return undefined;
  const reported = findings.map((finding, i) => {
    // A further defect is decided at the comma before it.
    const at = i === 0 ? decisionAt : text.lastIndexOf(',', finding.span.start);
    return probabilityOfReport(text, tokens, at) * probabilityOfType(text, tokens, finding.typeSpan, ids);
  });
  const probabilityAt = (at: number) => (at < 0 ? 0 : probabilityOfReport(text, tokens, at));
  return { defect: probabilityAt(decisionAt), findings: reported, another: probabilityAt(endAt) };
}

/** The answer's tokens with their places; the model may have begun with a space that its text lacks. */
function place(text: string, logprobs: readonly TokenLogprob[]): Placed[] | undefined {
  const bytes = Buffer.concat(logprobs.map(({ bytes: part }) => part));
  const target = Buffer.from(text);
  const from = bytes.indexOf(target);
  if (target.length === 0 || from < 0) return undefined;
  const places: Placed[] = [];
  let at = -from;
  for (const token of logprobs) {
    const end = at + token.bytes.length;
    if (end > 0 && at < target.length && token.bytes.length > 0) {
      places.push({ start: units(target, at), end: units(target, end), token });
    }
    at = end;
  }
  return places;
}

/** UTF-16 units before a byte; negative before the text. */
const units = (text: Buffer, byte: number): number =>
  byte < 0 ? byte : text.subarray(0, byte).toString('utf8').length;

function probabilityOfReport(text: string, tokens: readonly Placed[], at: number): number {
  const placed = tokens.find(({ start, end }) => start <= at && at < end);
  if (!placed) return 0;
  let [report, end] = [0, 0];
  for (const { token, probability } of alternatives(placed.token)) {
    const before = text.slice(Math.max(0, placed.start), at);
    const body = placed.start < 0 ? token.slice(-placed.start) : token;
    // One that ends before the place has decided nothing yet.
    if (!body.startsWith(before) || body.length <= before.length) continue;
    const rest = body.slice(before.length).trimStart();
    if (rest.startsWith(']')) end += probability;
    else if (rest.startsWith('{') || rest.startsWith(',')) report += probability;
  }
  return report + end === 0 ? 0 : report / (report + end);
}

/** The product over the type's tokens of their share among tokens that lead to a type of the catalogue. */
function probabilityOfType(
  text: string,
  tokens: readonly Placed[],
  { start, end }: Span,
  ids: readonly string[],
): number {
  let product = 1;
  for (const placed of tokens) {
    if (placed.end <= start || placed.start >= end) continue;
    const before = text.slice(0, Math.max(0, placed.start));
    let [chosen, all] = [0, 0];
    for (const { token, probability } of alternatives(placed.token)) {
      const full = before + token;
      if (full.length <= start || !full.startsWith(text.slice(0, start))) continue;
      const word = full.slice(start);
      if (!ids.some((id) => id.startsWith(word) || word.startsWith(`${id}"`))) continue;
      all += probability;
      if (text.startsWith(full)) chosen += probability;
    }
    if (all > 0) product *= chosen / all;
  }
  return product;
}

/** What could have stood in a token's place: the likeliest ones, and itself. */
function alternatives(token: TokenLogprob): { token: string; probability: number }[] {
  const known = token.top.some((other) => Buffer.compare(other.bytes, token.bytes) === 0);
  return [...token.top, ...(known ? [] : [token])].map(({ bytes, logprob }) => ({
    ...{ token: Buffer.from(bytes).toString('utf8'), probability: Math.exp(logprob) },
  }));
}
