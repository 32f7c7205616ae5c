/** What Windows-1252 shows for the bytes 0x80 to 0x9f, in order; `.` where it has nothing. */
const HIGH_CHARACTERS = '€.‚ƒ„…†‡ˆ‰Š‹Œ.Ž..‘’“”•–—˜™š›œ.žŸ';
const BYTE_OF = new Map([...HIGH_CHARACTERS].flatMap((c, i) => (c === '.' ? [] : [[c, 0x80 + i] as const])));
const LATER = `[\\u0080-\\u00bf${[...BYTE_OF.keys()].join('')}]`;
/** Sequences of two, three and four bytes; of two only where no quotation mark can be meant. */
const SEQUENCE = new RegExp(
  `[\\u00c2-\\u00df][\\u0080-\\u00bf]|[\\u00e0-\\u00ef]${LATER}{2}|[\\u00f0-\\u00f4]${LATER}{3}`,
  'g',
);
/** Scripts in which whole texts are written; any other result is chance. */
const LIKELY =
  /^(?:[\u00a0-\u024f\u0370-\u052f\u2010-\u203a\u20ac\u2190-\u22ff\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef]|\p{Extended_Pictographic}|[\u{20000}-\u{323af}])$/u;

/** UTF-8 that was read as Latin-1 or Windows-1252 on its way, put right: `é«˜è¡€åŽ‹` is `高血压`. */
export function repairMojibake(text: string): string {
  if (!/[\u00c2-\u00f4]/.test(text)) return text;
  const decoder = new TextDecoder('utf-8', { fatal: true });
  return text.replace(SEQUENCE, (sequence) => {
    const bytes = Uint8Array.from(sequence, (c) => BYTE_OF.get(c) ?? c.charCodeAt(0));
    try {
      const character = decoder.decode(bytes);
      return LIKELY.test(character) ? character : sequence;
    } catch {
      return sequence;
    }
  });
}
