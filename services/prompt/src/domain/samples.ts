import { create } from '@bufbuild/protobuf';
import { type Vote, VoteSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';

/** What a sample votes with; undefined where it is no valid answer. */
export type Ballot = (output: string) => string | undefined;

/** Without an output contract samples agree when they are the same text but for white space at the ends. */
export const byText: Ballot = (output) => output.trim();

/**
 * Self-consistency (Wang et al. 2023): the answer that most samples give, of equally many the one that came first.
 * @returns the winner's first text, and all different answers, the most frequent first; samples without a valid answer
 *   have no vote, and where none has one the first sample is returned
 */
export function vote(samples: readonly string[], ballot: Ballot = byText): { output: string; votes: Vote[] } {
  const counts = new Map<string, Vote>();
  for (const output of samples) {
    const key = ballot(output);
    if (key === undefined) continue;
    const known = counts.get(key);
    if (known) known.count++;
    else counts.set(key, create(VoteSchema, { output, count: 1 }));
  }
  // Sorting is stable: of equals the first to come stays first.
  const votes = [...counts.values()].sort((a, b) => b.count - a.count);
  return { output: votes[0]?.output ?? samples[0] ?? '', votes };
}
