import { PromptTask, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { type DraftView, type Finding, literal, placeOf } from './draft-view.ts';

type Check = (view: DraftView) => Finding[];

const finding = (
  principle: Finding['principle'],
  check: string,
  field: string,
  message: string,
  proposal: string,
): Finding[] => [{ principle, check, field, message, proposal }];

/** Whether a name is followed by what it means: `name: …`, `- name (…)`, `name | …`. */
const explained = (text: string, name: string): boolean =>
  new RegExp(`${literal(name)}["'”’』」\`*]{0,3}\\s{0,3}(?:[:：=(（|—–-]|是指|表示|means|when|if)`, 'i').test(
    text,
  );

const labels: Check = (view) => {
  const { draft, text, say } = view;
  if (!draft.outputContract) {
    const known =
      view.labels.length > 0
        ? view.labels
        : [say('〈类别一〉', '〈label one〉'), say('〈类别二〉', '〈label two〉')];
    return finding(
      ...(['specific', 'contract', 'output_contract'] as const),
      say('没有约定回答只能是哪些类别', 'the answer is not held to a list of labels'),
      `output_contract:\n  one_of:\n    options: ${JSON.stringify(known)}`,
    );
  }
  const unsaid = view.labels.filter((label) => !text.includes(label));
  const unexplained = view.labels.filter((label) => !unsaid.includes(label) && !explained(text, label));
  const criteria = (list: readonly string[]) =>
    list.map((label) => `- ${label}:${say('〈什么情况属于这一类〉', ' 〈when it applies〉')}`).join('\n');
  return [
    ...(unsaid.length > 0
      ? finding(
          'specific',
          'labels',
          'messages',
          say(`没有说到类别 ${unsaid.join('、')}`, `the labels ${unsaid.join(', ')} are not in the text`),
          criteria(unsaid),
        )
      : []),
    ...(unexplained.length > 0
      ? finding(
          'specific',
          'criteria',
          'messages',
          say(
            `没有说明什么情况属于 ${unexplained.join('、')}`,
            `it does not say when ${unexplained.join(', ')} applies`,
          ),
          criteria(unexplained),
        )
      : []),
  ];
};

const labelExamples: Check = ({ draft, labels: list, say }) => {
  const examples = draft.fewShot?.examples ?? [];
  if (examples.length === 0) return [];
  const missing = list.filter((label) => !examples.some(({ output }) => output.includes(label)));
  if (missing.length === 0) return [];
  return finding(
    ...(['demonstrated', 'label_examples', 'few_shot.examples'] as const),
    say(`类别 ${missing.join('、')} 没有示例`, `the labels ${missing.join(', ')} have no example`),
    missing.map((label) => `- variables: {…}\n  output: ${JSON.stringify(label)}`).join('\n'),
  );
};

const fields: Check = (view) => {
  const { draft, text, say } = view;
  const kind = draft.outputContract?.kind.case;
  if (kind !== 'jsonSchema' && kind !== 'fields') {
    return finding(
      ...(['specific', 'contract', 'output_contract'] as const),
      say('没有约定要哪些字段,各是什么格式', 'the fields of the answer and their form are not agreed upon'),
      'output_contract:\n  json_schema:\n    type: object\n    properties:\n      〈name〉: {type: string, description: 〈…〉}\n    required: [〈name〉]\n    additionalProperties: false',
    );
  }
  const unsaid = view.fields.filter(({ name }) => !text.includes(name) || !explained(text, name));
  if (unsaid.length === 0) return [];
  return finding(
    ...(['specific', 'fields', 'messages'] as const),
    say(
      `字段 ${unsaid.map(({ name }) => name).join('、')} 没有说明含义和格式`,
      `meaning and form of ${unsaid.map(({ name }) => name).join(', ')} are not said`,
    ),
    unsaid
      .map(
        ({ name, description, type }) =>
          `- ${name}: ${description || say('〈含义〉', '〈meaning〉')} (${type || say('〈格式〉', '〈form〉')})`,
      )
      .join('\n'),
  );
};

const missing: Check = ({ text, say }) =>
  /没有提到|未提及|未提到|缺失|没有给出|找不到|不存在|null|\bmissing\b|\babsent\b|not (?:mentioned|given|stated|there|present)/i.test(
    text,
  )
    ? []
    : finding(
        ...(['specific', 'missing', 'messages'] as const),
        say(
          '没有说原文里找不到某个字段时怎么写',
          'it does not say what to write for a field that the text does not have',
        ),
        say(
          '原文没有提到的字段写 null,不要猜测。',
          'Write null for a field that is not mentioned; do not guess.',
        ),
      );

const GENERATION: readonly [
  check: string,
  zh: RegExp,
  en: RegExp,
  message: [string, string],
  proposal: [string, string],
][] = [
  [
    'goal',
    /目标|目的|为了|任务/,
    /\bgoal\b|\bpurpose\b|\baim\b|\btask\b|\bin order to\b/i,
    ['没有说写这段文字的目标', 'the goal of the text is not said'],
    ['目标:〈读者看完以后应该知道或者去做什么〉', 'Goal: 〈what the reader should know or do afterwards〉'],
  ],
  [
    'audience',
    /读者|面向|受众|对象|用户是/,
    /\breaders?\b|\baudience\b|\bwritten for\b/i,
    ['没有说写给谁看', 'it is not said who reads it'],
    ['读者:〈是谁,懂多少〉', 'Audience: 〈who, and what they know〉'],
  ],
  [
    'style',
    /风格|语气|口吻|文风/,
    /\bstyle\b|\btone\b|\bvoice\b/i,
    ['没有说风格和语气', 'style and tone are not said'],
    ['风格:〈语气,人称,避免什么〉', 'Style: 〈tone, person, what to avoid〉'],
  ],
  [
    'length',
    /[\d{}]\s*(?:个)?(?:字|词|句|段|条|行)/,
    /[\d}]\s*(?:words?|sentences?|paragraphs?|lines?|bullets?|points?|characters?)/i,
    ['没有说多长', 'its length is not said'],
    ['长度:不超过〈200〉字', 'Length: at most 〈150〉 words'],
  ],
  [
    'structure',
    /结构|分为|段落|标题|要点|提纲/,
    /\bstructure\b|\bparagraphs?\b|\bsections?\b|\bheadings?\b|\bbullets?\b|\boutline\b/i,
    ['没有说结构', 'its structure is not said'],
    ['结构:1. 〈开头〉 2. 〈要点〉 3. 〈结尾〉', 'Structure: 1. 〈opening〉 2. 〈points〉 3. 〈close〉'],
  ],
];

const generation: Check = ({ text, language, say }) =>
  GENERATION.flatMap(([check, zh, en, message, proposal]) =>
    (language === 'zh' ? zh : en).test(text)
      ? []
      : finding(
          check === 'structure' ? 'structured' : 'specific',
          check,
          'messages',
          say(...message),
          say(...proposal),
        ),
  );

const steps: Check = ({ text, say }) =>
  /步骤|一步一步|逐步|分步|\bstep by step\b|\bsteps?\b/i.test(text)
    ? []
    : finding(
        ...(['structured', 'steps', 'messages'] as const),
        say('没有要求先写出步骤', 'it does not ask for the steps first'),
        say(
          '先一步一步地写出推理步骤,最后一行给出答案。',
          'Work step by step first, and give the answer on the last line.',
        ),
      );

const answerLine: Check = ({ draft, text, say }) => {
  const kind = draft.outputContract?.kind;
  if (!kind?.case) {
    const label = say('答案', 'Answer');
    return finding(
      ...(['specific', 'contract', 'output_contract'] as const),
      say(
        '没有约定答案写在哪里,程序取不出来',
        'the answer has no agreed place, so that no program can take it out',
      ),
      `output_contract:\n  fields:\n    free_text_before: true\n    fields:\n      - {name: answer, label: ${label}}`,
    );
  }
  if (kind.case !== 'fields') return [];
  const unsaid = kind.value.fields
    .map(({ label, name }) => label || name)
    .filter((label) => !text.includes(label));
  if (unsaid.length === 0) return [];
  return finding(
    ...(['specific', 'answer', 'messages'] as const),
    say(`没有说最后要写“${unsaid.join('、')}”这一行`, `it does not ask for the line “${unsaid.join(', ')}”`),
    unsaid
      .map((label) =>
        say(`最后另起一行写:${label}: 〈答案〉`, `On the last line write: ${label}: 〈the answer〉`),
      )
      .join('\n'),
  );
};

/** The six lines of an inspection report. */
const REPORT_ZH = ['缺陷检测结果', '缺陷类型', '缺陷位置', '严重程度', '检测结论', '处理建议'];
const REPORT_EN = ['Defect found', 'Defect type', 'Location', 'Severity', 'Conclusion', 'Advice'];

const inspection: Check = (view) => {
  const { draft, text, language, say } = view;
  const report = language === 'zh' ? REPORT_ZH : REPORT_EN;
  const unsaid = report.filter((line) => !text.includes(line));
  const image = draft.variables.some(({ type }) => type === VariableType.IMAGE);
  return [
    ...(image
      ? []
      : finding(
          'specific',
          'image',
          'variables',
          say('没有图片变量', 'there is no variable for the picture'),
          `- {name: image, type: image, required: true}\n${placeOf(draft, 'image')}`,
        )),
    ...(draft.outputContract
      ? []
      : finding(
          ...(['specific', 'contract', 'output_contract'] as const),
          say('没有约定报告有哪几行', 'the lines of the report are not agreed upon'),
          `output_contract:\n  fields:\n    fields:\n${report.map((label, i) => `      - {name: line_${i + 1}, label: ${label}}`).join('\n')}`,
        )),
    ...(unsaid.length > 0
      ? finding(
          'structured',
          'report',
          'messages',
          say(`报告缺少 ${unsaid.join('、')}`, `the report lacks ${unsaid.join(', ')}`),
          unsaid.map((line) => `${line}: ${say('〈怎么写〉', '〈how〉')}`).join('\n'),
        )
      : []),
  ];
};

/** What is asked of prompts for one kind of task. */
export const BY_TASK: Readonly<Record<PromptTask, readonly Check[]>> = {
  [PromptTask.UNSPECIFIED]: [],
  [PromptTask.CLASSIFICATION]: [labels, labelExamples],
  [PromptTask.EXTRACTION]: [fields, missing],
  [PromptTask.GENERATION]: [generation],
  [PromptTask.CHAIN_OF_THOUGHT]: [steps, answerLine],
  [PromptTask.INSPECTION]: [inspection],
};
