import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { Kind, type Model } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  ListModelsRequestSchema,
  type ListModelsResponse,
  ListModelsResponseSchema,
  RegistryService,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { FILTERED } from '../access/lists.ts';
import { mayKnow } from '../access/visible.ts';
import type { GatewayContext } from '../context.ts';
import type { Governed } from '../edge/governance.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { cursorOf } from './cursor.ts';
import { BadRequest } from './errors.ts';
import { FILE, fileBody, isThere } from './files.ts';
import { sendJson } from './http.ts';

const PAGE = 500;
const MOST = 10_000;
const { listModels } = RegistryService.method;

/** `GET /v1/files?limit&after&order&purpose`, the newest first. */
export async function listFiles(
  { channels }: GatewayContext,
  request: EdgeRequest,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
): Promise<void> {
  const { searchParams } = new URL(request.url ?? '', 'http://gateway');
  const { limit, after } = cursorOf(searchParams, { standard: MOST, most: MOST, id: FILE, of: 'a file' });
  const order = searchParams.get('order') ?? 'desc';
  if (order !== 'asc' && order !== 'desc') throw new BadRequest('order', 'must be asc or desc');
  const isOurs = ['', 'fine-tune'].includes(searchParams.get('purpose') ?? '');
  const registry = channels.registry.client(RegistryService);
  const asked = create(ListModelsRequestSchema, { kind: Kind.DATASET, namePrefix: 'file-', pageSize: PAGE });
  let more = false;
  const reply = await governed.unary(asked, async (passed) => {
    const files: Model[] = [];
    let { pageToken } = passed as typeof asked;
    // Names tell nothing of when: all are read, to show the newest first.
    do {
      const page = await registry.listModels({ ...(passed as typeof asked), pageToken }, { context: call });
      files.push(...page.models.filter(isThere));
      pageToken = page.nextPageToken;
    } while (pageToken !== '' && isOurs);
    const [list] = FILTERED.get(listModels)!;
    const shown = isOurs ? files.filter((file) => mayKnow(governed.caller, listModels, list!, file)) : [];
    shown.sort((a, b) => (order === 'asc' ? inTime(a, b) : inTime(b, a)));
    const from = after ? shown.findIndex(({ name }) => name === after) + 1 : 0;
    const known = after === '' || from > 0;
    more = known && shown.length > from + limit;
    return create(ListModelsResponseSchema, { models: known ? shown.slice(from, from + limit) : [] });
  });
  const data = (reply as ListModelsResponse).models.map(fileBody);
  const [firstId, lastId] = [data.at(0)?.id ?? null, data.at(-1)?.id ?? null];
  sendJson(response, 200, { object: 'list', data, first_id: firstId, last_id: lastId, has_more: more });
}

const timeOf = ({ createTime }: Model) => (createTime ? timestampMs(createTime) : 0);
const inTime = (a: Model, b: Model) => timeOf(a) - timeOf(b) || (a.name < b.name ? -1 : 1);
