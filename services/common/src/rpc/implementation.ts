import type { DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { CallContext } from './call-context.ts';

type Input<M> = M extends { input: infer I extends import('@bufbuild/protobuf').DescMessage }
  ? MessageShape<I>
  : never;
type Output<M> = M extends { output: infer O extends import('@bufbuild/protobuf').DescMessage }
  ? MessageInitShape<O>
  : never;

/** A handler of one method. */
export type Handler<M> = M extends { methodKind: 'unary' }
  ? (request: Input<M>, context: CallContext) => Promise<Output<M>> | Output<M>
  : M extends { methodKind: 'server_streaming' }
    ? (request: Input<M>, context: CallContext) => AsyncIterable<Output<M>>
    : M extends { methodKind: 'client_streaming' }
      ? (requests: AsyncIterable<Input<M>>, context: CallContext) => Promise<Output<M>>
      : (requests: AsyncIterable<Input<M>>, context: CallContext) => AsyncIterable<Output<M>>;

/** All methods of a service, by protobuf-es's local names. What is left out answers UNIMPLEMENTED. */
export type Implementation<S extends DescService> = {
  [K in keyof S['method']]?: Handler<S['method'][K]>;
};
