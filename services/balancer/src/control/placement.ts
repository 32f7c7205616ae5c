/** A replica as adapters are placed on it. */
export interface PlacedReplica {
  id: string;
  /** Adapters that it was told to hold. */
  adapters: ReadonlySet<string>;
}

export interface Placement {
  /** Adapters of each replica. */
  byReplica: ReadonlyMap<string, ReadonlySet<string>>;
  /** Replicas that are to hold each adapter; 0 where there is no room. */
  copies: ReadonlyMap<string, number>;
}

/**
 * Which replica holds which adapters. Where every one has room for all, all hold all. Otherwise each adapter gets
 * up to the same number of copies, as many as fit: those that are placed stay where they are, and each that is missing
 * goes to the replica with the fewest.
 * @param slots adapters that one replica can hold
 */
export function placeAdapters(
  adapters: ReadonlySet<string>,
  replicas: readonly PlacedReplica[],
  slots: number,
): Placement {
  const names = [...adapters].sort();
  const fits = names.length <= slots;
  const most = Math.min(replicas.length, Math.max(1, Math.floor((slots * replicas.length) / names.length)));
  const copiesWanted = fits ? replicas.length : most;
  const byReplica = new Map(replicas.map(({ id }) => [id, new Set<string>()]));
  const copies = new Map(names.map((name) => [name, 0]));
  const put = (id: string, name: string) => {
    byReplica.get(id)!.add(name);
    copies.set(name, copies.get(name)! + 1);
  };
  const hasRoom = (id: string) => byReplica.get(id)!.size < slots;
  for (const { id, adapters: held } of replicas) {
    for (const name of names) {
      if (held.has(name) && hasRoom(id) && copies.get(name)! < copiesWanted) put(id, name);
    }
  }
  for (let round = 1; round <= copiesWanted; round++) {
    for (const name of names) {
      if (copies.get(name)! >= round) continue;
      const [emptiest] = replicas
        .filter(({ id }) => hasRoom(id) && !byReplica.get(id)!.has(name))
        .sort((a, b) => byReplica.get(a.id)!.size - byReplica.get(b.id)!.size);
      if (emptiest) put(emptiest.id, name);
    }
  }
  return { byReplica, copies };
}
