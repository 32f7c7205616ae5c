import { isIPv6 } from 'node:net';

/** How many connections each peer holds open. */
export class Peers {
  readonly #open = new Map<string, number>();
  total = 0;

  /** Takes note of a connection; it is given back by calling what is returned, once. */
  enter(address: string): () => void {
    const peer = peerOf(address);
    this.#open.set(peer, this.of(address) + 1);
    this.total += 1;
    return () => {
      const left = this.of(address) - 1;
      if (left > 0) this.#open.set(peer, left);
      else this.#open.delete(peer);
      this.total -= 1;
    };
  }

  of(address: string): number {
    return this.#open.get(peerOf(address)) ?? 0;
  }
}

/** A host of IPv6 has 2^64 addresses of its own: its network's /64 is one peer. IPv4 in IPv6 is IPv4. */
function peerOf(address: string): string {
  if (!isIPv6(address)) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped) return mapped;
  const [head = '', tail] = address.replace(/%.*$/, '').split('::');
  const groups = head === '' ? [] : head.split(':');
  // What `::` stands for are zeroes.
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length);
  const all = [...groups, ...Array(missing).fill('0'), ...(tail ? tail.split(':') : [])];
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
