import type { Box, Defect, Report, Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';

/** What a report says in a language. */
interface Words {
  /** Three rows of three places. */
  places: readonly (readonly string[])[];
  severities: Record<Severity, string>;
  lines: {
    result: string;
    type: string;
    position: string;
    severity: string;
    conclusion: string;
    advice: string;
  };
  found: string;
  none: string;
  nothing: string;
  /** Between several of a kind. */
  comma: string;
  /** Between a line's title and its text. */
  colon: string;
  signature: string;
  unsigned: string;
}

const zh: Words = {
  places: [
    ['左上部', '上部', '右上部'],
    ['左部', '中部', '右部'],
    ['左下部', '下部', '右下部'],
  ],
  severities: ['未定', '轻微', '中等', '严重'],
  lines: {
    result: '缺陷检测结果',
    type: '缺陷类型',
    position: '缺陷位置',
    severity: '严重程度',
    conclusion: '检测结论',
    advice: '处理建议',
  },
  found: '检出缺陷',
  none: '未检出缺陷',
  nothing: '无',
  comma: '、',
  colon: ':',
  signature: '审核签字',
  unsigned: '(待审核)',
};

const en: Words = {
  places: [
    ['top left', 'top', 'top right'],
    ['left', 'centre', 'right'],
    ['bottom left', 'bottom', 'bottom right'],
  ],
  severities: ['undecided', 'slight', 'moderate', 'severe'],
  lines: {
    result: 'Inspection result',
    type: 'Defect type',
    position: 'Position',
    severity: 'Severity',
    conclusion: 'Conclusion',
    advice: 'Advice',
  },
  found: 'defect found',
  none: 'no defect found',
  nothing: 'none',
  comma: ', ',
  colon: ': ',
  signature: 'Reviewed and signed by',
  unsigned: '(waits for review)',
};

const wordsOf = (language: string): Words => (language === 'en' ? en : zh);

/** Where a box's centre lies, among nine places of the image. */
export function positionOf({ x0, y0, x1, y1 }: Box, width: number, height: number, language: string): string {
  const third = (at: number) => Math.min(2, Math.max(0, Math.floor(at * 3)));
  const row = wordsOf(language).places[third((y0 + y1) / 2 / height)]!;
  return row[third((x0 + x1) / 2 / width)]!;
}

/** What the text form is made of. */
export type Told = Pick<Report, 'defective' | 'defects' | 'conclusion' | 'advice' | 'sections' | 'notice'>;

/**
 * The text form of a report: its notice, the six lines of an inspection, the parts that the model wrote, and who has
 * signed, each where the profile has it.
 * @param asks whether the profile asks for defects
 * @param signers who has decided its review; empty while nobody has
 */
export function reportText(told: Told, language: string, asks: boolean, signers: readonly string[]): string {
  const words = wordsOf(language);
  const { lines, colon } = words;
  const line = (title: string, text: string) => `${title}${colon}${text}`;
  const text: string[] = told.notice ? [told.notice] : [];
  if (asks) {
    const each = (tell: (defect: Defect) => string) =>
      told.defects.map(tell).join(words.comma) || words.nothing;
    text.push(
      line(lines.result, told.defective ? words.found : words.none),
      line(
        lines.type,
        each(({ name, type }) => name || type),
      ),
      line(
        lines.position,
        each(({ position }) => position || words.nothing),
      ),
      line(
        lines.severity,
        each(({ severity }) => words.severities[severity]),
      ),
    );
  }
  for (const section of told.sections) {
    const [first = '', ...more] = section.lines;
    if (more.length === 0) text.push(line(section.title, first));
    else
      text.push(`${section.title}${colon.trimEnd()}`, ...section.lines.map((each, i) => `${i + 1}. ${each}`));
  }
  if (told.conclusion) text.push(line(lines.conclusion, told.conclusion));
  if (told.advice) text.push(line(lines.advice, told.advice));
  if (told.notice) text.push(line(words.signature, signers.join(words.comma) || words.unsigned));
  return text.join('\n');
}
