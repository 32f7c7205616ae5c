import type { DescMessage, DescMethodUnary } from '@bufbuild/protobuf';
import type { RepeatableCall } from '@landfall/common/db/idempotency.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';

/** How repeats of a method are told apart. @param requestId the client's token; empty for none */
export const accessCall = <I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  { tenant }: Identity,
  requestId: string,
): RepeatableCall<I, O> => ({
  tenant,
  method: `${method.parent.typeName}/${method.name}`,
  requestId,
  input: method.input,
  output: method.output,
});
