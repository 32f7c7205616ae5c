import { escapeTemplate } from '../parts.ts';
import type { RowsView } from '../task.ts';

/** A way to lay a prompt out. */
export interface Pattern {
  name: string;
  user: string;
  /** Goes behind what the system says already. */
  system?: string;
}

/** The layouts of the library's prompts (services/prompt/library), filled with what the rows show of the task. */
export function libraryPatterns({ task, language }: RowsView, input: string, instruction: string): Pattern[] {
  const zh = language === 'zh';
  const ask = (heading: string, last: string) =>
    `${heading}\n<text>\n${input}\n</text>${last && `\n\n${last}`}`;
  const list = (items: readonly string[]) => items.map((item) => `- ${escapeTemplate(item)}`).join('\n');
  switch (task.kind) {
    case 'labels':
      return [
        {
          name: 'the library’s classification',
          system: zh
            ? `## 任务\n把用户的文字分到下面的一个类别,只输出类别的名称,不要解释。\n\n## 类别\n${list(task.labels)}`
            : `## Task\nSort the user's text into one of the labels below. Write the label alone, without explanation.\n\n## Labels\n${list(task.labels)}`,
          user: zh ? ask('文字:', '类别:') : ask('Text:', 'Label:'),
        },
      ];
    case 'json': {
      const fields = [...new Set(task.objects.flatMap((object) => Object.keys(object)))];
      return [
        {
          name: 'the library’s extraction',
          system: zh
            ? `## 任务\n从原文里提取下面的字段,只输出一个 JSON 对象,不要解释,也不要放在代码块里。\n\n## 字段\n${list(fields)}\n\n原文没有提到的字段写 null,不要猜测。`
            : `## Task\nTake the fields below out of the text. Write one JSON object alone, without explanation and without a code block.\n\n## Fields\n${list(fields)}\n\nWrite null for a field that is not mentioned. Do not guess.`,
          user: zh ? ask('原文:', 'JSON:') : ask('Text:', 'JSON:'),
        },
      ];
    }
    default:
      if (instruction === '') return [];
      return [
        {
          name: 'the library’s sections, the task as a turn of the system',
          system: zh ? `## 任务\n${instruction}` : `## Task\n${instruction}`,
          user: zh ? ask('原文:', '') : ask('Text:', ''),
        },
      ];
  }
}
