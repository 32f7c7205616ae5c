import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** An experiment; at most one of a label is running. */
export const ExperimentSchema = defineEntity({
  name: 'Experiment',
  tableName: 'experiment',
  properties: {
    id: p.text().primary(),
    tenant: p.text(),
    name: p.text(),
    label: p.text(),
    /** Whether it splits invocations. */
    running: p.boolean(),
    /** The Experiment as ProtoJSON, without readings. */
    content: p.text(),
    /** By version and metric, what has been observed: JSON of SequenceState. */
    tallies: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type ExperimentRow = InferEntity<typeof ExperimentSchema>;

/** The invocation of each subject that counts, in experiments that count a subject once. */
export const ExperimentSubjectSchema = defineEntity({
  name: 'ExperimentSubject',
  tableName: 'experiment_subject',
  properties: {
    experimentId: p.text().primary(),
    /** sha256 over experiment and subject. */
    subject: p.text().primary(),
    invocationId: p.text(),
  },
});

export const experimentEntities = [ExperimentSchema, ExperimentSubjectSchema];
