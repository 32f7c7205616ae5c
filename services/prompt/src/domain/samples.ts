import { create } from '@bufbuild/protobuf';
import { type Vote, VoteSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';

/**
 * Self-consistency (Wang et al. 2023): the answer that most samples give, of equally many the one that came first.
 * @param ballotOf what a sample votes for; samples agree when it is the same, and one without a ballot has no vote. By
 *   default the text, but for white space at its ends
 * @returns the winner's first text, '' where nobody votes, and all different answers, the most frequent first
 */
export function vote(
  samples: readonly string[],
  ballotOf: (sample: string) => string | undefined = (sample) => sample.trim(),
): { output: string; votes: Vote[] } {
  const counts = new Map<string, Vote>();
  for (const output of samples) {
    const key = ballotOf(output);
    if (key === undefined) continue;
    const known = counts.get(key);
    if (known) known.count++;
    else counts.set(key, create(VoteSchema, { output, count: 1 }));
  }
  // Sorting is stable: of equals the first to come stays first.
  const votes = [...counts.values()].sort((a, b) => b.count - a.count);
  return { output: votes[0]?.output ?? '', votes };
}
