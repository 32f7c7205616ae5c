import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { MetadataFilter } from '@landfall/proto/landfall/vision/v1/collection_pb.js';
import type { Filter } from '../engine/search-index/filter.ts';

const DEEPEST = 8;
const MOST_CONDITIONS = 256;

/** A request's filter as the index takes it. @throws LandfallError INVALID_ARGUMENT for one beyond the bounds */
export function readFilter(filter: MetadataFilter): Filter {
  let conditions = 0;
  const read = ({ condition }: MetadataFilter, depth: number): Filter => {
    if (depth > DEEPEST) throw invalidArgument('filter', `has more than ${DEEPEST} levels`);
    if (condition.case === 'all' || condition.case === 'any') {
      return {
        kind: condition.case,
        filters: condition.value.filters.map((each) => read(each, depth + 1)),
      };
    }
    if (++conditions > MOST_CONDITIONS)
      throw invalidArgument('filter', `has more than ${MOST_CONDITIONS} conditions`);
    switch (condition.case) {
      case 'equals':
        return { kind: 'one_of', key: condition.value.key, values: [condition.value.value] };
      case 'oneOf':
        return { kind: 'one_of', key: condition.value.key, values: condition.value.values };
      case 'range': {
        const { key, gte, gt, lte, lt } = condition.value;
        return { kind: 'range', key, bounds: given({ gte, gt, lte, lt }) };
      }
      default:
        throw invalidArgument('filter', 'must hold a condition');
    }
  };
  return read(filter, 1);
}

/** What is set. */
function given<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
