import { Migration } from '@mikro-orm/migrations';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';
import { appendOnly } from '../append-only.ts';

/** Profiles in immutable versions, how their confidences are calibrated, and the record of all changes. */
class ProfilesMigration extends Migration {
  override name = 'vision-profiles';

  override up(): void {
    const isPostgres = this.driver instanceof PostgreSqlDriver;
    for (const statement of [
      `create table profile (tenant text not null, name text not null, version integer not null, deleted boolean not null,
         primary key (tenant, name))`,
      `create table profile_version (tenant text not null, name text not null, version integer not null,
         content text not null, author text not null, created_ms bigint not null, primary key (tenant, name, version))`,
      `create table calibration (tenant text not null, profile text not null, model text not null, content text not null,
         created_ms bigint not null, primary key (tenant, profile, model))`,
      `create table vision_audit (id text not null primary key, tenant text not null, subject text not null,
         action text not null, target text not null, detail text not null, created_ms bigint not null)`,
      'create index vision_audit_time on vision_audit (tenant, id)',
      'create index vision_audit_target on vision_audit (tenant, target, id)',
      ...appendOnly('profile_version', isPostgres),
      ...appendOnly('vision_audit', isPostgres),
    ]) {
      this.addSql(statement);
    }
  }
}

export const profilesMigration = { name: 'vision-profiles', migration: ProfilesMigration };
