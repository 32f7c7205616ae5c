/**
 * Tells a Python pickle from other content by reading its opcodes (CPython's pickletools.py), without running any.
 * A pickle is a program that ends with '.'; protocol 2 and later announce themselves with 0x80, protocols 0 and 1
 * don't, so those are taken for a pickle only when the program reads to its end and imports a name, which it must
 * before it can call anything. A loader runs opcodes as it meets them, so a program that breaks off behind such an
 * import counts where it is announced or imports from a module that pickles are abused with.
 */
export function looksLikePickle(bytes: Uint8Array, truncated: boolean): boolean {
  const announced = bytes.length >= 2 && bytes[0] === 0x80 && bytes[1]! >= 2 && bytes[1]! <= 5;
  let at = announced ? 2 : 0;
  let imports = false;
  let abused = false;
  while (at < bytes.length) {
    const opcode = bytes[at]!;
    if (opcode === STOP) return announced || imports;
    const next = skipOpcode(bytes, at);
    if (next === undefined) return abused || (announced && imports);
    if (opcode === GLOBAL || opcode === INST) {
      const [module = '', name = ''] = Buffer.from(bytes.subarray(at + 1, next))
        .toString('latin1')
        .split('\n');
      if (!DOTTED_NAME.test(module) || !DOTTED_NAME.test(name)) return announced && imports;
      imports = true;
      abused ||= ABUSED_MODULES.test(module);
    }
    if (opcode === STACK_GLOBAL) imports = true;
    at = next;
  }
  return truncated ? announced || imports : abused || (announced && imports);
}

const code = (text: string) => text.charCodeAt(0);
const STOP = code('.');
const GLOBAL = code('c');
const INST = code('i');
const STACK_GLOBAL = 0x93;
const DOTTED_NAME = /^[A-Za-z_][\w.]*$/;
const ABUSED_MODULES =
  /^(os|posix|nt|sys|builtins|__builtin__|subprocess|commands|runpy|importlib|socket|shutil|pty|ctypes|pickle)(\.|$)/;

/** Opcodes without an argument. */
const PLAIN = new Set([
  ...['(', '0', '1', '2', ')', 'l', ']', 'a', 'e', 'o', '}', 'd', 's', 'u', 't', 'N', 'R', 'b', 'Q'].map(
    code,
  ),
  ...[0x81, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8f, 0x90, 0x91, 0x92, 0x93, 0x94, 0x97, 0x98],
]);
/** Opcodes with one line of text behind them. */
const LINES = new Map<number, number>([
  ...['I', 'L', 'F', 'S', 'V', 'P', 'g', 'p'].map((text): [number, number] => [code(text), 1]),
  [code('c'), 2],
  [code('i'), 2],
]);
/** Opcodes with an argument of fixed width, in bytes. */
const FIXED = new Map<number, number>([
  ...(
    [
      ['J', 4],
      ['K', 1],
      ['M', 2],
      ['G', 8],
      ['h', 1],
      ['q', 1],
      ['j', 4],
      ['r', 4],
    ] as const
  ).map(([text, width]): [number, number] => [code(text), width]),
  ...([
    [0x80, 1],
    [0x82, 1],
    [0x83, 2],
    [0x84, 4],
    [0x95, 8],
  ] as const),
]);
/** Opcodes with a length before their content: the width of that length. */
const COUNTED = new Map<number, number>([
  ...(
    [
      ['T', 4],
      ['U', 1],
      ['B', 4],
      ['C', 1],
      ['X', 4],
    ] as const
  ).map(([text, width]): [number, number] => [code(text), width]),
  ...([
    [0x8a, 1],
    [0x8b, 4],
    [0x8c, 1],
    [0x8d, 8],
    [0x8e, 8],
    [0x96, 8],
  ] as const),
]);

/** Where the opcode at `at` ends, or undefined when it is none. */
function skipOpcode(bytes: Uint8Array, at: number): number | undefined {
  const opcode = bytes[at]!;
  if (PLAIN.has(opcode)) return at + 1;
  const fixed = FIXED.get(opcode);
  if (fixed !== undefined) return at + 1 + fixed;
  const counted = COUNTED.get(opcode);
  if (counted !== undefined) {
    let length = 0;
    for (let index = counted; index > 0; index--) length = length * 256 + (bytes[at + index] ?? 0);
    return at + 1 + counted + length;
  }
  let lines = LINES.get(opcode);
  if (lines === undefined) return undefined;
  let end = at + 1;
  for (; lines > 0; lines--) {
    const newline = bytes.indexOf(0x0a, end);
    if (newline < 0) return bytes.length;
    end = newline + 1;
  }
  return end;
}
