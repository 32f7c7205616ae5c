import { create } from '@bufbuild/protobuf';
import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  AttendRequestSchema,
  type AttendResponse,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import {
  type AttentionGrid,
  AttentionGridSchema,
  type Defect,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { Span } from './answer.ts';
import { turnOf } from './ask-model.ts';
import { drawOverlay } from './overlay.ts';

/** What is explained. */
export interface Explained {
  /** `models:/name/version` that answered. */
  model: string;
  prompt: string;
  image: Uint8Array;
  width: number;
  height: number;
  /** As the model wrote it. */
  answer: string;
  defects: readonly Defect[];
  /** Where each defect stands in the answer. */
  spans: readonly Span[];
}

/**
 * Where the model looked while it wrote each defect: a grid on each, and all of them drawn over the image.
 * @returns PNG
 * @throws LandfallError what the replica says: FAILED_PRECONDITION with BACKEND_CANNOT_ATTEND where it can't tell
 */
export async function explain(
  replicas: BalancedClient,
  { model, prompt, image, width, height, answer, defects, spans }: Explained,
  call: CallContext,
): Promise<Uint8Array> {
  let grids: (AttentionGrid | undefined)[] = [];
  if (spans.length > 0) {
    const request = create(AttendRequestSchema, {
      ...{ model, messages: [turnOf({ prompt }, image)], completion: answer, spans: [...spans] },
    });
    const { attend } = TextInferenceService.method;
    const reply = (await replicas.unary({ model }, attend, request, { context: call })) as AttendResponse;
    grids = reply.maps.map(({ images: [map] }) => map && create(AttentionGridSchema, { ...gridOf(map) }));
  }
  for (const [i, defect] of defects.entries()) if (grids[i]) defect.attention = grids[i];
  return drawOverlay(
    image,
    defects.map(({ type, confidence, box, attention: grid }) => ({
      label: `${type} ${Math.round(confidence * 100)}%`,
      box: [box!.x0 / width, box!.y0 / height, box!.x1 / width, box!.y1 / height],
      grid,
    })),
  );
}

const gridOf = ({ rows, columns, weights }: Pick<AttentionGrid, 'rows' | 'columns' | 'weights'>) => ({
  ...{ rows, columns, weights },
});
