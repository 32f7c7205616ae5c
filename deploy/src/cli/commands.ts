import type { Command } from './command.ts';
import { auditCommands } from './commands/audit.ts';
import { cacheCommands } from './commands/cache.ts';
import { chatCommands } from './commands/chat.ts';
import { collectionCommands } from './commands/collections.ts';
import { contentCommands } from './commands/content.ts';
import { contentDryRunCommands } from './commands/content-dry-run.ts';
import { contentReviewCommands } from './commands/content-reviews.ts';
import { datasetCommands } from './commands/datasets.ts';
import { deploymentCommands } from './commands/deployments.ts';
import { evaluationCommands } from './commands/evaluations.ts';
import { experimentCommands } from './commands/experiments.ts';
import { groupCommands } from './commands/groups.ts';
import { inspectionCommands } from './commands/inspections.ts';
import { keyCommands } from './commands/keys.ts';
import { modelCatalogCommands } from './commands/model-catalog.ts';
import { modelImportCommands } from './commands/model-import.ts';
import { modelLifeCommands } from './commands/model-life.ts';
import { modelCommands } from './commands/models.ts';
import { planCommands } from './commands/plans.ts';
import { profileCommands } from './commands/profiles.ts';
import { promptAccessCommands } from './commands/prompt-access.ts';
import { promptContentCommands } from './commands/prompt-contents.ts';
import { promptEvaluationCommands } from './commands/prompt-evaluation.ts';
import { promptInvocationCommands } from './commands/prompt-invocations.ts';
import { promptLabelCommands } from './commands/prompt-labels.ts';
import { promptOptimizationCommands } from './commands/prompt-optimization.ts';
import { promptCommands } from './commands/prompts.ts';
import { reviewCommands } from './commands/reviews.ts';
import { rightCommands } from './commands/rights.ts';
import { tenantCommands } from './commands/tenants.ts';
import { testSetCommands } from './commands/test-sets.ts';
import { trainingCommands } from './commands/training.ts';
import { userCommands } from './commands/users.ts';
import { webhookCommands } from './commands/webhooks.ts';

/** By what is typed: one word or two. */
export const commands: Readonly<Record<string, Command>> = {
  ...modelCommands,
  ...modelImportCommands,
  ...modelCatalogCommands,
  ...modelLifeCommands,
  ...datasetCommands,
  ...trainingCommands,
  ...evaluationCommands,
  ...planCommands,
  ...deploymentCommands,
  ...chatCommands,
  ...promptCommands,
  ...promptInvocationCommands,
  ...promptContentCommands,
  ...promptLabelCommands,
  ...promptEvaluationCommands,
  ...promptOptimizationCommands,
  ...testSetCommands,
  ...promptAccessCommands,
  ...experimentCommands,
  ...inspectionCommands,
  ...collectionCommands,
  ...reviewCommands,
  ...profileCommands,
  ...keyCommands,
  ...userCommands,
  ...groupCommands,
  ...rightCommands,
  ...tenantCommands,
  ...contentCommands,
  ...contentDryRunCommands,
  ...contentReviewCommands,
  ...webhookCommands,
  ...auditCommands,
  ...cacheCommands,
};
