import { create } from '@bufbuild/protobuf';
import { EndpointSchema, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { afterEach, expect, test, vi } from 'vitest';
import type { RpcChannel } from '../rpc/client.ts';
import { BalancedEndpoint } from './endpoint.ts';
import { ASSUMED_REQUEST_TOKENS } from './pick.ts';

const channel = {} as RpcChannel;
const seen = (more: object) =>
  create(EndpointSchema, { id: 'a', address: 'h:1', state: EndpointState.READY, weight: 1, ...more });

afterEach(() => {
  vi.useRealTimers();
});

test('failures in a row leave it alone for longer and longer, up to half a minute; an answer ends that', () => {
  vi.useFakeTimers({ now: 0 });
  const endpoint = new BalancedEndpoint(seen({}), channel);
  const pauses = Array.from({ length: 10 }, () => {
    endpoint.eject();
    return endpoint.ejectedUntilMs;
  });
  pauses.forEach((ms, failures) => {
    const full = Math.min(30_000, 500 * 2 ** failures);
    expect(ms).toBeGreaterThanOrEqual(full * 0.75);
    expect(ms).toBeLessThanOrEqual(full * 1.25);
  });
  endpoint.succeeded();
  expect(endpoint.ejectedUntilMs).toBe(0);
});

test('its cost is what it has told of, its requests not told of yet, by its weight', () => {
  const endpoint = new BalancedEndpoint(seen({ load: { runningTokens: 100n }, weight: 2 }), channel);
  expect(endpoint.cost).toBe(50);
  const first = endpoint.begin();
  const second = endpoint.begin();
  expect(endpoint.cost).toBe((100 + 2 * ASSUMED_REQUEST_TOKENS) / 2);
  first.reported(seen({ load: { runningTokens: 300n } }).load);
  expect(endpoint.cost).toBe((300 + ASSUMED_REQUEST_TOKENS) / 2);
  first.end();
  second.end();
  expect(endpoint.cost).toBe(150);
});
