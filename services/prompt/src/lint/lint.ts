import type { PromptTask } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { COMMON } from './common-checks.ts';
import { type Finding, viewOf } from './draft-view.ts';
import { BY_TASK } from './task-checks.ts';

const ORDER = ['specific', 'structured', 'demonstrated', 'iterated'];

/**
 * What a checked draft lacks of the four principles of a good prompt (specific, structured, demonstrated, iterated) for
 * its task, each with text to put in, in the draft's language. It reads the text and asks no model: what it finds is
 * missing, and what it doesn't find may be said badly all the same.
 *
 * @param asked what the draft is for; UNSPECIFIED takes what its contract and words say
 */
export function lint(draft: PromptDraft, asked: PromptTask): { findings: Finding[]; task: PromptTask } {
  const view = viewOf(draft, asked);
  const findings = [...BY_TASK[view.task], ...COMMON].flatMap((check) => check(view));
  findings.sort((a, b) => ORDER.indexOf(a.principle) - ORDER.indexOf(b.principle));
  return { findings, task: view.task };
}
