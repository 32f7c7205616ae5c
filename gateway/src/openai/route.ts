import type { DescMethod } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { GatewayContext } from '../context.ts';
import type { Governed } from '../edge/governance.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';

export type Run = (
  context: GatewayContext,
  request: EdgeRequest,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
) => Promise<void>;

/** What answers a verb on a path. */
export interface Route {
  verb: string;
  /** The method whose role this route asks for. */
  method: DescMethod;
  run: Run;
}
