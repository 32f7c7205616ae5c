import { create } from '@bufbuild/protobuf';
import { type Vote, VoteSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';

/**
 * Self-consistency (Wang et al. 2023): the answer that most samples give, of equally many the one that came first.
 * Samples agree when they are the same text but for white space at the ends.
 * @returns the winner's first text, and all different answers, the most frequent first
 */
export function vote(samples: readonly string[]): { output: string; votes: Vote[] } {
  const counts = new Map<string, Vote>();
  for (const output of samples) {
    const key = output.trim();
    const known = counts.get(key);
    if (known) known.count++;
    else counts.set(key, create(VoteSchema, { output, count: 1 }));
  }
  // Sorting is stable: of equals the first to come stays first.
  const votes = [...counts.values()].sort((a, b) => b.count - a.count);
  return { output: votes[0]?.output ?? '', votes };
}
