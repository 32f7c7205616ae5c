import type { Draw, Files, Malformed } from './files.ts';

const good = (i: number) => JSON.stringify({ question: `问题 ${i}?`, answer: `回答 ${i}。` });
const turns = (...list: unknown[]) => JSON.stringify({ messages: list });
const user = { role: 'user', content: '你好' };

/** Data sets where one row, all rows or the whole file can't be used. */
export function malformedDatasets(draw: Draw): Malformed[] {
  const dataset = (
    what: string,
    name: string,
    content: Buffer | string,
    engine: RegExp,
    registry?: RegExp,
  ): Malformed => ({
    what: `${name} ${what}`,
    kind: 'dataset',
    files: new Map([[name, Buffer.from(content)]]) satisfies Files,
    engine,
    ...(registry ? { registry } : {}),
  });
  /** Good lines with one that is not, somewhere; the errors name its number. */
  const oneRow = (
    what: string,
    line: Buffer | string,
    code: string,
    problem?: RegExp,
    row = draw.between(1, 9),
  ) => {
    const lines = Array.from({ length: 9 }, (_, i) => Buffer.from(`${i + 1 === row ? '' : good(i)}\n`));
    lines[row - 1] = Buffer.concat([Buffer.from(line), Buffer.from('\n')]);
    const engine = new RegExp(`\\b1 ${code} \\(row ${row}\\)`);
    const registry = problem && new RegExp(`rows\\.jsonl row ${row}: ${problem.source}`);
    return dataset(`with ${what} in row ${row}`, 'rows.jsonl', Buffer.concat(lines), engine, registry);
  };
  const whole = good(1);
  const cut = draw.between(1, whole.length - 1);
  const rows = Array.from({ length: 4 }, (_, i) => good(i));
  const long = 'x'.repeat(10 * 2 ** 20);
  return [
    oneRow(`JSON cut at ${cut}`, whole.slice(0, cut), 'malformed_json', /not JSON/),
    oneRow('two objects', `${whole}${whole}`, 'malformed_json', /not JSON/),
    oneRow('single quotes', "{'question': 'a', 'answer': 'b'}", 'malformed_json', /not JSON/),
    oneRow('NaN', '{"question": NaN, "answer": "b"}', 'malformed_json', /not JSON/),
    oneRow('a list', '["问", "答"]', 'malformed_json', /not an object/, draw.between(2, 9)),
    // A file that begins with `[` could be taken for one array.
    oneRow('a list', '["问", "答"]', 'malformed_json', /not an object/, 1),
    oneRow('a number', String(draw.between(0, 1e9)), 'malformed_json', /not an object/),
    oneRow('lists 200,000 deep', '['.repeat(200_000), 'malformed_json', /not JSON/),
    oneRow(
      'a byte that is no UTF-8',
      Buffer.from([0x7b, draw.between(0x80, 0xbf), 0x7d]),
      'encoding',
      /not UTF-8/,
    ),
    oneRow(
      'GBK',
      Buffer.concat([
        Buffer.from('{"question":"'),
        Buffer.from([0xce, 0xca]),
        Buffer.from('","answer":"a"}'),
      ]),
      'encoding',
      /not UTF-8/,
    ),
    oneRow('a lone surrogate', '{"question":"a \\ud83d","answer":"b"}', 'encoding'),
    oneRow('replacement characters', '{"question":"a","answer":"\ufffd\ufffd"}', 'encoding'),
    oneRow('no question', '{"answer":"b"}', 'missing_field'),
    oneRow('no answer', '{"question":"a"}', 'missing_field'),
    oneRow('other names', '{"prompt":"a","completion":"b"}', 'missing_field'),
    oneRow('a number as its answer', '{"question":"a","answer":7}', 'missing_field'),
    oneRow('an empty question', '{"question":" ","answer":"b"}', 'missing_field'),
    oneRow('an empty answer', '{"question":"a","answer":"\\n"}', 'empty_answer'),
    oneRow('10 MiB', JSON.stringify({ question: 'a', answer: long }), 'too_long'),
    oneRow('messages that are a text', '{"messages":"hi"}', 'missing_field'),
    oneRow('no turn', turns(), 'missing_field'),
    oneRow('an unknown role', turns(user, { role: 'oracle', content: 'a' }), 'missing_field'),
    oneRow('a turn that is null', turns(user, null), 'missing_field'),
    oneRow('a user at the end', turns(user), 'missing_field'),
    oneRow('an empty turn', turns(user, { role: 'assistant', content: '' }), 'empty_answer'),
    oneRow('__proto__', '{"__proto__":{"question":"a","answer":"b"}}', 'missing_field'),
    oneRow(
      'a prompt longer than a sequence',
      JSON.stringify({ question: '长'.repeat(500), answer: 'b' }),
      'no_label',
    ),
    dataset('without a row', 'rows.jsonl', '\n \n', /no usable row/, /no .json or .jsonl file with rows/),
    dataset('of nothing', 'rows.json', '[]', /no usable row/, /no .json or .jsonl file with rows/),
    dataset(
      'of the same row',
      'rows.jsonl',
      `${whole}\n`.repeat(draw.between(2, 50)),
      /all rows of the data are the same: \d+ duplicate \(row/,
    ),
    dataset(
      'that is not closed',
      'rows.json',
      `[${rows.join(',')}`,
      /1 malformed_json \(row 4\)/,
      /ends before the array does/,
    ),
    dataset(
      'with text behind it',
      'rows.json',
      `[${rows.join(',')}]}`,
      /1 malformed_json \(row 5\)/,
      /text behind the array/,
    ),
    dataset(
      'with an empty element',
      'rows.json',
      `[${rows[0]},,${rows[1]}]`,
      /1 malformed_json \(row 2\)/,
      /rows\.json row 2: empty/,
    ),
    dataset(
      'in UTF-16',
      'rows.jsonl',
      Buffer.from(`\ufeff${rows.join('\n')}`, 'utf16le'),
      /no usable row: .*(encoding|malformed_json) \(rows? 1/,
      /row 1: not/,
    ),
    dataset(
      'of zeros',
      'rows.jsonl',
      Buffer.alloc(draw.between(1, 4096)),
      /no usable row: 1 malformed_json \(row 1\)/,
      /row 1: not JSON/,
    ),
    dataset(
      'under another name',
      'rows.csv',
      'question,answer\na,b\n',
      /no usable row/,
      /no .json or .jsonl file with rows/,
    ),
  ];
}
