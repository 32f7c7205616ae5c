import { sqlMigration } from '@landfall/common/db/migration.ts';

/** What jobs find out beside scores; answers of a safety set, and every measure of a row. */
export const outcomesMigration = sqlMigration('trainer-0002-outcomes', [
  "alter table job add column outcome text not null default ''",
  `create table job_row (
    job_id text not null references job (id),
    side text not null check (side in ('base', 'tuned', 'safety')),
    "row" integer not null,
    question text not null,
    reference text not null,
    output text not null,
    bleu double precision not null,
    detail text not null,
    primary key (job_id, side, "row"))`,
  `insert into job_row (job_id, side, "row", question, reference, output, bleu, detail)
    select job_id, side, "row", question, reference, output, bleu, '' from job_answer`,
  'drop table job_answer',
]);
