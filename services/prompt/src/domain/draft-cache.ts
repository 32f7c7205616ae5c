import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { loadDraft } from './draft.ts';

/** Characters of drafts that are kept read. */
const MOST_KEPT = 16_000_000;
const known = new Map<string, PromptDraft>();
let kept = 0;

/** A stored draft, read once. It is shared: nobody may change it. */
export function cachedDraft(content: string): PromptDraft {
  const found = known.get(content);
  if (found) {
    known.delete(content);
    known.set(content, found);
    return found;
  }
  const draft = loadDraft(content);
  known.set(content, draft);
  kept += content.length;
  for (const oldest of known.keys()) {
    if (kept <= MOST_KEPT) break;
    known.delete(oldest);
    kept -= oldest.length;
  }
  return draft;
}
