import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';

export interface Finding {
  principle: 'specific' | 'structured' | 'demonstrated' | 'iterated';
  message: string;
  proposal: string;
}

/** What a draft lacks of the four principles of a good prompt: specific, structured, demonstrated, iterated. */
export function lint(draft: PromptDraft): Finding[] {
  const text = draft.messages.map((message) => message.template).join('\n');
  const findings: Finding[] = [];
  const outcome = /(字以内|不超过|格式|输出|列出|步骤|标签|JSON|format|output|at most|words|steps|label)/i;
  if (!outcome.test(text)) {
    findings.push({
      principle: 'specific',
      message: 'it does not say what the answer should look like: form, length, or the labels to choose from',
      proposal: '请用不超过100字回答,并分点列出。',
    });
  }
  if (!/(\n\s*(#|\d+[.、)]|[-*]|[【[])|\n\s*\n|:\s*\n|:\s*\n)/.test(text)) {
    findings.push({
      principle: 'structured',
      message: 'task, input and form of the answer stand in one run of text',
      proposal: '### 任务\n…\n### 输入\n{input}\n### 输出格式\n…',
    });
  }
  if (!/(示例|例如|比如|example|e\.g\.|for instance)/i.test(text)) {
    findings.push({
      principle: 'demonstrated',
      message: 'there is no example of an input with its answer',
      proposal: '示例:\n输入:…\n输出:…',
    });
  }
  if (draft.changeLog.trim() === '') {
    findings.push({
      principle: 'iterated',
      message: 'the change log is empty: nobody will know what this version was meant to improve',
      proposal: 'what was changed, why, and which score it should raise',
    });
  }
  return findings;
}
