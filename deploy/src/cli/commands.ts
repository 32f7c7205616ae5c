import type { Command } from './command.ts';
import { chatCommands } from './commands/chat.ts';
import { datasetCommands } from './commands/datasets.ts';
import { deploymentCommands } from './commands/deployments.ts';
import { keyCommands } from './commands/keys.ts';
import { modelCommands } from './commands/models.ts';
import { planCommands } from './commands/plans.ts';
import { promptCommands } from './commands/prompts.ts';
import { trainingCommands } from './commands/training.ts';

/** By what is typed: one word or two. */
export const commands: Readonly<Record<string, Command>> = {
  ...modelCommands,
  ...datasetCommands,
  ...trainingCommands,
  ...planCommands,
  ...deploymentCommands,
  ...chatCommands,
  ...promptCommands,
  ...keyCommands,
};
