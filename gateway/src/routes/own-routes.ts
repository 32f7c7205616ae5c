import type { Message } from '@bufbuild/protobuf';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { AccessService } from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { CacheService } from '@landfall/proto/landfall/gateway/v1/cache_service_pb.js';
import { ContentService } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { EventService } from '@landfall/proto/landfall/gateway/v1/event_service_pb.js';
import { IdentityService } from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { QuotaService } from '@landfall/proto/landfall/gateway/v1/quota_service_pb.js';
import { WebhookService } from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import type { GatewayContext } from '../context.ts';
import { watchEvents } from '../events/watch-events.ts';
import { grantRight } from './access/grant-right.ts';
import { listRights } from './access/list-rights.ts';
import { restrictResource } from './access/restrict-resource.ts';
import { revokeRight } from './access/revoke-right.ts';
import { getCachePolicy } from './cache/get-cache-policy.ts';
import { getCacheStatistics } from './cache/get-cache-statistics.ts';
import { purgeCache } from './cache/purge-cache.ts';
import { setCachePolicy } from './cache/set-cache-policy.ts';
import { activateContentPolicy } from './content/activate-content-policy.ts';
import { claimContentReview } from './content/claim-content-review.ts';
import { decideContentReview } from './content/decide-content-review.ts';
import { dryRunContentPolicy } from './content/dry-run-content-policy.ts';
import { getContentPolicy } from './content/get-content-policy.ts';
import { getContentReview } from './content/get-content-review.ts';
import { listContentPolicies } from './content/list-content-policies.ts';
import { listContentReviews } from './content/list-content-reviews.ts';
import { setContentPolicy } from './content/set-content-policy.ts';
import { tryContentPolicy } from './content/try-content-policy.ts';
import { createKey } from './create-key.ts';
import { createTenant } from './identity/create-tenant.ts';
import { deleteGroup } from './identity/delete-group.ts';
import { deleteMember } from './identity/delete-member.ts';
import { getMember } from './identity/get-member.ts';
import { listGroups } from './identity/list-groups.ts';
import { listMembers } from './identity/list-members.ts';
import { listRoles } from './identity/list-roles.ts';
import { listTenants } from './identity/list-tenants.ts';
import { setGroup } from './identity/set-group.ts';
import { setMember } from './identity/set-member.ts';
import { updateTenant } from './identity/update-tenant.ts';
import { whoAmI } from './identity/who-am-i.ts';
import { listKeys } from './list-keys.ts';
import { listPrices } from './quota/list-prices.ts';
import { listQuotas } from './quota/list-quotas.ts';
import { setPrice } from './quota/set-price.ts';
import { setQuota } from './quota/set-quota.ts';
import { revokeKey } from './revoke-key.ts';
import { rotateKey } from './rotate-key.ts';
import { searchAudit } from './search-audit.ts';
import { setPolicy } from './set-policy.ts';
import { createWebhook } from './webhooks/create-webhook.ts';
import { deleteWebhook } from './webhooks/delete-webhook.ts';
import { listWebhooks } from './webhooks/list-webhooks.ts';
import { rotateWebhookSecret } from './webhooks/rotate-webhook-secret.ts';
import { whyAllowed } from './why-allowed.ts';

type Route = (
  request: never,
  caller: Identity,
  signal: AbortSignal,
) => Promise<Message> | AsyncIterable<Message>;

/** Methods that the gateway answers itself, by service and by protobuf-es's local names. */
export function ownRoutes(
  context: GatewayContext,
): Readonly<Record<string, Readonly<Record<string, Route>>>> {
  return {
    [AdminService.typeName]: {
      createKey: createKey(context),
      revokeKey: revokeKey(context),
      rotateKey: rotateKey(context),
      listKeys: listKeys(context),
      setPolicy: setPolicy(context),
      whyAllowed: whyAllowed(context),
      searchAudit: searchAudit(context),
    },
    [ContentService.typeName]: {
      setContentPolicy: setContentPolicy(context),
      activateContentPolicy: activateContentPolicy(context),
      getContentPolicy: getContentPolicy(context),
      listContentPolicies: listContentPolicies(context),
      tryContentPolicy: tryContentPolicy(context),
      dryRunContentPolicy: dryRunContentPolicy(context),
      listContentReviews: listContentReviews(context),
      getContentReview: getContentReview(context),
      claimContentReview: claimContentReview(context),
      decideContentReview: decideContentReview(context),
    },
    [CacheService.typeName]: {
      setCachePolicy: setCachePolicy(context),
      getCachePolicy: getCachePolicy(context),
      purgeCache: purgeCache(context),
      getCacheStatistics: getCacheStatistics(context),
    },
    [AccessService.typeName]: {
      grantRight: grantRight(context),
      revokeRight: revokeRight(context),
      restrictResource: restrictResource(context),
      listRights: listRights(context),
    },
    [IdentityService.typeName]: {
      whoAmI: whoAmI(context),
      listRoles: listRoles(context),
      createTenant: createTenant(context),
      listTenants: listTenants(context),
      updateTenant: updateTenant(context),
      setMember: setMember(context),
      getMember: getMember(context),
      listMembers: listMembers(context),
      deleteMember: deleteMember(context),
      setGroup: setGroup(context),
      listGroups: listGroups(context),
      deleteGroup: deleteGroup(context),
    },
    [QuotaService.typeName]: {
      setQuota: setQuota(context),
      listQuotas: listQuotas(context),
      setPrice: setPrice(context),
      listPrices: listPrices(context),
    },
    [EventService.typeName]: { watchEvents: watchEvents(context) },
    [WebhookService.typeName]: {
      createWebhook: createWebhook(context),
      listWebhooks: listWebhooks(context),
      rotateWebhookSecret: rotateWebhookSecret(context),
      deleteWebhook: deleteWebhook(context),
    },
  };
}
