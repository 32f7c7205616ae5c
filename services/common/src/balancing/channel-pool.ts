import type { RpcChannel } from '../rpc/client.ts';

/** Calls that were sent before their replica left the list may still end on its connection. */
const LINGER_MS = 30_000;

interface Pooled {
  channel: RpcChannel;
  users: number;
  closing: NodeJS.Timeout | undefined;
}

/** One connection to each address, shared by all targets that are served there. */
export class ChannelPool {
  readonly #open: (address: string) => RpcChannel;
  readonly #pool = new Map<string, Pooled>();

  constructor(open: (address: string) => RpcChannel) {
    this.#open = open;
  }

  take(address: string): RpcChannel {
    let pooled = this.#pool.get(address);
    if (!pooled) {
      pooled = { channel: this.#open(address), users: 0, closing: undefined };
      this.#pool.set(address, pooled);
    }
    clearTimeout(pooled.closing);
    pooled.users++;
    return pooled.channel;
  }

  giveBack(address: string): void {
    const pooled = this.#pool.get(address);
    if (!pooled || --pooled.users > 0) return;
    pooled.closing = setTimeout(() => {
      this.#pool.delete(address);
      pooled.channel.close();
    }, LINGER_MS);
    pooled.closing.unref();
  }

  close(): void {
    for (const { channel, closing } of this.#pool.values()) {
      clearTimeout(closing);
      channel.close();
    }
    this.#pool.clear();
  }
}
