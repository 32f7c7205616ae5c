import { checkOutput } from '../domain/output-contract.ts';
import { readTemplate } from '../domain/read-template.ts';
import { sampleExample, sampleValue } from './answers.ts';
import { type DraftView, type Finding, isFreeText, literal, placeOf, variablePath } from './draft-view.ts';

const VAGUE_ZH = /适当|尽量|尽可能|差不多|好一点|好一些|合理地|若干|适量|之类的?|等等|酌情/g;
const VAGUE_EN =
  /\b(?:appropriate(?:ly)?|as needed|and so on|etc|somewhat|some kind of|a bit|various|stuff|properly|reasonabl[ey]|if possible|as much as possible)\b/gi;
/** Rows that say something about a prompt. */
const LEAST_TESTS = 3;
/** Characters of a prompt that needs no parts. */
const SHORT = 80;
const SECTION =
  /^(?:#{1,6}\s|【[^】]+】|<[A-Za-z_][\w-]*>|(?:\d+|[一二三四五六七八九十]+)[.、)）]|[-*•]\s|\*\*[^*]+\*\*|[^\n]{1,40}[:：]$)/gm;

type Check = (view: DraftView) => Finding[];

const vague: Check = (view) =>
  view.draft.messages.flatMap(({ template }, i) => {
    const words = [...new Set(template.match(view.language === 'zh' ? VAGUE_ZH : VAGUE_EN) ?? [])];
    if (words.length === 0) return [];
    const list = words.map((word) => `“${word}”`).join(view.say('、', ', '));
    return {
      principle: 'specific',
      check: 'vague',
      field: `messages[${i}].template`,
      message: view.say(`${list}没有说清楚要做到什么程度`, `${list} does not say how much or what`),
      proposal: view.say(
        words.map((word) => `把“${word}”换成可以检查的要求,例如“不超过100字”、“列出3条”`).join('\n'),
        words
          .map(
            (word) => `in place of “${word}” what can be checked, such as “in at most 100 words”, “list 3”`,
          )
          .join('\n'),
      ),
    };
  });

const described: Check = (view) =>
  view.draft.variables
    .filter(({ description }) => description.trim() === '')
    .map((variable) => ({
      principle: 'specific',
      check: 'description',
      field: `${variablePath(view, variable)}.description`,
      message: view.say(`变量 ${variable.name} 没有说明`, `nobody is told what ${variable.name} is`),
      proposal: view.say(
        `${variable.name}:〈是什么,从哪里来,什么格式〉`,
        `${variable.name}: 〈what it is, where it comes from, its form〉`,
      ),
    }));

const used: Check = (view) => {
  const { messages, format, fewShot, variables } = view.draft;
  if (messages.some(({ template }) => readTemplate(format, template, 'messages').parts.length > 0)) return [];
  const names = new Set(
    messages.flatMap(({ template }) => readTemplate(format, template, 'messages').variables),
  );
  return variables
    .filter(({ name }) => !names.has(name) && !fewShot?.template.includes(`{${name}}`))
    .map((variable) => ({
      principle: 'specific',
      check: 'unused',
      field: variablePath(view, variable),
      message: view.say(
        `变量 ${variable.name} 声明了,但没有用到`,
        `${variable.name} is declared and not used`,
      ),
      proposal: view.say(
        `${variable.description || variable.name}:\n${placeOf(view.draft, variable.name)}`,
        `${variable.description || variable.name}:\n${placeOf(view.draft, variable.name)}`,
      ),
    }));
};

const sections: Check = (view) => {
  const { draft, text, say } = view;
  const roles = new Set(draft.messages.map(({ role }) => role));
  if (
    text.length < SHORT ||
    (roles.has('system') && roles.has('user')) ||
    (text.match(SECTION)?.length ?? 0) >= 2
  )
    return [];
  const inputs = draft.variables.map(
    ({ name, description }) => `${description || name}:\n${placeOf(draft, name)}`,
  );
  const form =
    view.fields.length > 0
      ? view.fields.map(({ name, description }) => `- ${name}:${description}`).join('\n')
      : view.labels.join(say('、', ', '));
  return [
    {
      principle: 'structured',
      check: 'sections',
      field: 'messages',
      message: say(
        '任务、输入和输出格式混在一段里',
        'task, input and form of the answer stand in one run of text',
      ),
      proposal: [
        say('## 任务', '## Task'),
        firstSentence(text),
        say('## 输入', '## Input'),
        ...inputs,
        say('## 输出格式', '## Form of the answer'),
        form || say('〈格式〉', '〈the form〉'),
      ].join('\n'),
    },
  ];
};

/** The first sentence that holds no place. */
const firstSentence = (text: string): string =>
  text
    .split(/(?<=[。!?！？.\n])/)
    .find((sentence) => sentence.trim() !== '' && !sentence.includes('{'))
    ?.trim() ?? '…';

/** What a caller gives must be told from what the prompt says: on lines of its own, in quotes, or in a tag. */
const delimited: Check = (view) =>
  view.draft.variables.filter(isFreeText).flatMap((variable) => {
    const place = `\\{{1,2}\\s*${literal(variable.name)}\\s*\\}{1,2}`;
    const bare = new RegExp(`[\\p{L}\\p{N},,。;；]\\s?${place}|${place}\\s?[\\p{L}\\p{N}]`, 'u');
    const i = view.draft.messages.findIndex(({ template }) => bare.test(template));
    if (i < 0 || view.text.length < SHORT) return [];
    const { name } = variable;
    return {
      principle: 'structured',
      check: 'delimited',
      field: `messages[${i}].template`,
      message: view.say(
        `${name} 的内容和指令没有分开`,
        `what ${name} holds can't be told from what the prompt says`,
      ),
      proposal: `<${name}>\n${placeOf(view.draft, name)}\n</${name}>`,
    };
  });

const examples: Check = (view) => {
  if (view.draft.fewShot || /示例|例如|例子|比如|\bexamples?\b|e\.g\.|for instance/i.test(view.text))
    return [];
  return [
    {
      principle: 'demonstrated',
      check: 'examples',
      field: 'few_shot.examples',
      message: view.say('没有给出输入和对应回答的示例', 'there is no example of an input with its answer'),
      proposal: sampleExample(view, 'output'),
    },
  ];
};

const fitting =
  (
    check: string,
    principle: Finding['principle'],
    answers: (view: DraftView) => [field: string, answer: string][],
  ): Check =>
  (view) => {
    const contract = view.draft.outputContract;
    if (!contract) return [];
    return answers(view).flatMap(([field, answer]) => {
      const { problems } = checkOutput(contract, answer);
      if (problems.length === 0) return [];
      return {
        principle,
        check,
        field,
        message: view.say(
          `不符合输出约定:${problems.join(';')}`,
          `breaks the output contract: ${problems.join('; ')}`,
        ),
        proposal: sampleExample(view, check === 'tests_fit' ? 'expected' : 'output'),
      };
    });
  };

const examplesFit = fitting('examples_fit', 'demonstrated', ({ draft }) =>
  (draft.fewShot?.examples ?? []).map(({ output }, i) => [`few_shot.examples[${i}].output`, output]),
);

const filled: Check = (view) =>
  view.draft.variables
    .filter(({ examples: some, required, defaultValue }) => some.length === 0 && required && !defaultValue)
    .map((variable) => ({
      principle: 'demonstrated',
      check: 'filled',
      field: `${variablePath(view, variable)}.examples`,
      message: view.say(`变量 ${variable.name} 没有示例值`, `${variable.name} has no example of a value`),
      proposal: JSON.stringify(sampleValue(view, variable)),
    }));

const changeLog: Check = (view) =>
  view.draft.changeLog.trim() !== ''
    ? []
    : [
        {
          principle: 'iterated',
          check: 'change_log',
          field: 'change_log',
          message: view.say(
            '没有写改了什么,以后没人知道这个版本要改进什么',
            'nobody will know what this version was meant to improve',
          ),
          proposal: view.say(
            '改了〈什么〉,因为〈原因〉,希望提高〈哪个指标〉',
            'changed 〈what〉, since 〈why〉, which should raise 〈which score〉',
          ),
        },
      ];

const tests: Check = (view) => {
  const { tests: rows, fewShot } = view.draft;
  if (rows.length >= LEAST_TESTS) return [];
  const answers = (fewShot?.examples ?? []).slice(0, LEAST_TESTS).map(({ output }) => output);
  const proposed = answers.length > 0 ? answers : [undefined];
  return [
    {
      principle: 'iterated',
      check: 'tests',
      field: 'tests',
      message: view.say(
        `只有 ${rows.length} 条测试,至少要 ${LEAST_TESTS} 条才能比较两个版本`,
        `has ${rows.length} test rows; versions can be compared from ${LEAST_TESTS}`,
      ),
      proposal: proposed.map((output) => sampleExample(view, 'expected', output)).join('\n'),
    },
  ];
};

const testsFit = fitting('tests_fit', 'iterated', ({ draft }) =>
  draft.tests
    .filter(({ expected }) => expected !== '')
    .map(({ expected }) => [
      `tests[${draft.tests.findIndex((row) => row.expected === expected)}].expected`,
      expected,
    ]),
);

/** What is asked of every prompt. */
export const COMMON: readonly Check[] = [
  ...[vague, described, used, sections, delimited, examples, examplesFit, filled, changeLog, tests, testsFit],
];
