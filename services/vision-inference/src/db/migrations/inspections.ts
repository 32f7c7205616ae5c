import { Migration } from '@mikro-orm/migrations';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';
import { appendOnly } from '../append-only.ts';

/**
 * Reports, what they found, and what people decided of them. Ids are UUIDs of version 7, whose order is that of time:
 * every index of a list ends with the id, so that a page is one range. Statistics read their two indexes alone.
 */
class InspectionsMigration extends Migration {
  override name = 'vision-inspections';

  override up(): void {
    const isPostgres = this.driver instanceof PostgreSqlDriver;
    for (const statement of [
      `create table image (digest text not null primary key, media_type text not null, used_ms bigint not null)`,
      `create table report (id text not null primary key, tenant text not null, request_id text,
         request_digest text not null, profile text not null, profile_version integer not null, line text not null,
         batch_id text not null, defective boolean not null, reviewed boolean not null, image_digest text not null,
         image_until_ms bigint, content text not null, answer text not null, spans text not null,
         created_ms bigint not null, unique (tenant, request_id))`,
      'create index report_time on report (tenant, id)',
      'create index report_profile on report (tenant, profile, id)',
      'create index report_defective on report (tenant, defective, id)',
      'create index report_profile_defective on report (tenant, profile, defective, id)',
      'create index report_batch on report (tenant, batch_id, id)',
      'create index report_image on report (image_digest)',
      'create index report_image_until on report (image_until_ms)',
      'create index report_counts on report (tenant, profile, created_ms, line, defective, reviewed)',
      `create table finding (report_id text not null references report (id), number integer not null, tenant text not null,
         profile text not null, line text not null, type text not null, severity integer not null,
         created_ms bigint not null, primary key (report_id, number))`,
      'create index finding_counts on finding (tenant, profile, created_ms, line, type, severity)',
      `create table review (id text not null primary key, tenant text not null, report_id text not null references report (id),
         profile text not null, line text not null, model text not null, cause integer not null, decided boolean not null,
         two_person boolean not null, claim_ms bigint not null, claimed_by text not null, claim_until_ms bigint not null,
         decisions integer not null, first_reviewer text not null, second_reviewer text not null,
         content text not null, confirmed boolean not null, raw_probability double precision not null,
         weight double precision not null, reported_defective boolean not null, decided_defective boolean not null,
         created_ms bigint not null, decided_ms bigint, revision bigint not null, unique (report_id))`,
      'create index review_open on review (tenant, decided, id)',
      'create index review_time on review (tenant, id)',
      'create index review_profile on review (tenant, profile, id)',
      'create index review_profile_open on review (tenant, profile, decided, id)',
      'create index review_cause on review (tenant, cause, decided, id)',
      'create index review_decided on review (tenant, profile, decided_ms)',
      `create index review_rates on review (tenant, profile, decided, created_ms, line, reported_defective,
         decided_defective, confirmed, weight)`,
      `create table review_decision (review_id text not null references review (id), number integer not null,
         tenant text not null, reviewer text not null, content text not null, created_ms bigint not null,
         primary key (review_id, number))`,
      ...appendOnly('review_decision', isPostgres),
    ]) {
      this.addSql(statement);
    }
  }
}

export const inspectionsMigration = { name: 'vision-inspections', migration: InspectionsMigration };
