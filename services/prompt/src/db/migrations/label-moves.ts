import { Migration } from '@mikro-orm/migrations';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';

/** Protected labels, the history of moves, and the record of changes; the last two can only be added to. */
class LabelMovesMigration extends Migration {
  override name = 'prompt-label-moves';

  override up(): void {
    for (const statement of [
      `create table prompt_label_protection (tenant text not null, target text not null, label text not null,
         approvals integer not null, approvers text not null, owner_may_undo boolean not null,
         primary key (tenant, target, label))`,
      `create table prompt_move_request (id text not null primary key, tenant text not null, name text not null,
         label text not null, from_version text not null, to_version text not null, state integer not null,
         author text not null, reason text not null, approvals_needed integer not null, created_ms bigint not null,
         expires_ms bigint not null, ended_ms bigint)`,
      'create index prompt_move_request_time on prompt_move_request (tenant, id)',
      'create index prompt_move_request_label on prompt_move_request (tenant, name, label, state)',
      `create table prompt_move_decision (request_id text not null, author text not null, approve boolean not null,
         reason text not null, created_ms bigint not null, primary key (request_id, author))`,
      `create table prompt_label_history (tenant text not null, name text not null, label text not null,
         revision bigint not null, from_version text not null, to_version text not null, kind integer not null,
         author text not null, reason text not null, undoes bigint not null, move_id text not null,
         created_ms bigint not null, primary key (tenant, name, label, revision))`,
      // Of labels that are there already only the last move is known.
      `insert into prompt_label_history (tenant, name, label, revision, from_version, to_version, kind, author, reason,
         undoes, move_id, created_ms)
         select tenant, name, label, revision, '', version, 1, '', '', 0, '', 0 from prompt_label`,
      `create table prompt_audit (id text not null primary key, tenant text not null, subject text not null,
         action text not null, target text not null, item text not null, outcome text not null, before text not null,
         after text not null, before_digest text not null, after_digest text not null, reason text not null,
         created_ms bigint not null)`,
      'create index prompt_audit_time on prompt_audit (tenant, id)',
      'create index prompt_audit_target on prompt_audit (tenant, target, id)',
      'create index prompt_audit_subject on prompt_audit (tenant, subject, id)',
      ...this.#appendOnly('prompt_label_history'),
      ...this.#appendOnly('prompt_audit'),
    ]) {
      this.addSql(statement);
    }
  }

  #appendOnly(table: string): string[] {
    const message = `${table} can only be added to`;
    if (!(this.driver instanceof PostgreSqlDriver)) {
      return ['update', 'delete'].map(
        (verb) =>
          `create trigger ${table}_no_${verb} before ${verb} on ${table}
             begin select raise(abort, '${message}'); end`,
      );
    }
    return [
      `create function ${table}_refuse() returns trigger language plpgsql as
         $$ begin raise exception '${message}'; end $$`,
      `create trigger ${table}_no_change before update or delete or truncate on ${table}
         for each statement execute function ${table}_refuse()`,
    ];
  }
}

export const labelMovesMigration = { name: 'prompt-label-moves', migration: LabelMovesMigration };
