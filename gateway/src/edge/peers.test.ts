import { expect, test } from 'vitest';
import { Peers } from './peers.ts';

test('connections count for their peer, a network of 64 bits in IPv6, until they are given back', () => {
  const peers = new Peers();
  const leave = peers.enter('10.0.0.1');
  peers.enter('::ffff:10.0.0.1');
  peers.enter('10.0.0.2');
  expect([peers.of('10.0.0.1'), peers.of('10.0.0.2'), peers.total]).toEqual([2, 1, 3]);
  leave();
  expect([peers.of('10.0.0.1'), peers.total]).toEqual([1, 2]);
  for (const address of ['2001:db8::1', '2001:0db8:0:0:ffff::2', '2001:db8:0:0:1:2:3:4'])
    peers.enter(address);
  expect([peers.of('2001:db8::9'), peers.of('2001:db8:0:1::9')]).toEqual([3, 0]);
  peers.enter('fe80::1%eth0');
  peers.enter('::1');
  expect([peers.of('fe80::2'), peers.of('::1'), peers.of('10.0.0.3')]).toEqual([1, 1, 0]);
});
