/** Statements after which the database refuses to change or delete a row of the table. */
export function appendOnly(table: string, isPostgres: boolean): string[] {
  const message = `${table} can only be added to`;
  if (!isPostgres) {
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
