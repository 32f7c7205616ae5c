import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { mostDefects } from '../inspection/question.ts';

/** Members of an answer that have a meaning of their own. */
const TAKEN = ['defects', 'conclusion', 'advice'];

/** States of the grammar that a replica holds an answer to, by what it is made of, and how many it takes. */
const STATES = { defect: 170, type: 2, section: 36, line: 36 };
const MOST_STATES = 32_000;

/**
 * What the contract's rules can't say of a profile.
 * @throws LandfallError INVALID_ARGUMENT that names the field
 */
export function checkSpec(spec: ProfileSpec): void {
  const { prompt, defectTypes, sections, sound, modelWritesText } = spec;
  if (prompt !== '' && prompt.split('<image>').length !== 2) {
    throw invalidArgument('spec.prompt', 'names <image> once, where the image stands; or leave it empty');
  }
  requireUnique(
    'spec.defect_types',
    defectTypes.map(({ id }) => id),
  );
  if (statesOf(spec) > MOST_STATES) {
    const remedy = 'take fewer or shorter ids, or lower max_defects or max_lines';
    throw invalidArgument('spec', `no model can be held to so large an answer: ${remedy}`);
  }
  requireUnique(
    'spec.sections',
    sections.map(({ id }) => id),
  );
  for (const [i, { id }] of sections.entries()) {
    if (TAKEN.includes(id)) {
      throw invalidArgument(`spec.sections[${i}].id`, `'${id}' is a member of every answer; take another id`);
    }
  }
  if (modelWritesText) return;
  for (const [i, { id, dispositions }] of defectTypes.entries()) {
    requireUnique(
      `spec.defect_types[${i}].dispositions`,
      dispositions.map(({ severity }) => String(severity)),
    );
    if (dispositions.length === 0) {
      const remedy = 'give dispositions, or let the model write them (model_writes_text)';
      throw invalidArgument(
        `spec.defect_types[${i}].dispositions`,
        `say what follows from '${id}': ${remedy}`,
      );
    }
  }
  if (defectTypes.length > 0 && !sound) {
    throw invalidArgument('spec.sound', 'say what is concluded of a piece without a defect');
  }
}

function statesOf(spec: ProfileSpec): number {
  const types = spec.defectTypes.reduce((sum, { id }) => sum + id.length + STATES.type, STATES.defect);
  const lines = spec.sections.map(({ maxLines }) => STATES.section + maxLines * STATES.line);
  const written = spec.modelWritesText ? 2 * (STATES.section + STATES.line) : 0;
  return mostDefects(spec) * types + lines.reduce((a, b) => a + b, written);
}

function requireUnique(field: string, values: readonly string[]): void {
  const twice = values.find((value, i) => values.indexOf(value) !== i);
  if (twice !== undefined) throw invalidArgument(field, `has '${twice}' twice`);
}
