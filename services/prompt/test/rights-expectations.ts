import { randomUUID } from 'node:crypto';
import type { Right } from '../src/domain/standing.ts';

/** A prompt in a folder of its own, with one of everything that hangs on a prompt. */
export interface Place {
  folder: string;
  prompt: string;
  testSet: string;
  /** Ids. */
  move: string;
  invocation: string;
  evaluation: string;
  optimization: string;
  experiment: string;
}

/** Who may call a method, beside the role that its contract declares. */
export interface Expectation {
  /**
   * Least right on the prompt that a request is about. `role`: about none, the role alone decides. `tenant`: about
   * something that everyone in the tenant sees.
   */
  right: Right | 'role' | 'tenant';
  /** Whether it is the folder that is asked about: one that the caller may not see is denied, since it is no secret. */
  isFolder?: true;
  /** A request that is sound, and whose repeats by others change nothing that the other calls meet. */
  request: (place: Place) => Record<string, unknown>;
  /** Of a list over prompts: names of those in the answer. What a caller may not see is left out. */
  // biome-ignore lint/suspicious/noExplicitAny: replies come from the server's own descriptors, without types.
  names?: (reply: any) => string[];
}

const functions = [{ kind: { case: 'forbiddenWords', value: { words: ['x'] } } }];
const draft = { messages: [{ role: 'user', template: 'x' }] };
const file = '---\nlandfall_prompt: 1\n---\n::: user\nx\n';
const named = ({ prompt: name }: Place) => ({ name });
const target = ({ prompt: value }: Place) => ({ target: { target: { case: 'prompt', value } } });
const label = (place: Place) => ({ ...named(place), label: 'production' });
const viewer = (request: Expectation['request']): Expectation => ({ right: 'viewer', request });
const invoker = (request: Expectation['request']): Expectation => ({ right: 'invoker', request });
const editor = (request: Expectation['request']): Expectation => ({ right: 'editor', request });
const owner = (request: Expectation['request']): Expectation => ({ right: 'owner', request });
const list = (field: string, request: Expectation['request']): Expectation => ({
  right: 'viewer',
  request,
  names: (reply) => reply[field].map((row: { name: string }) => row.name),
});

/** One for every method of the prompt service: a method without one fails the test. */
export const expectations: Record<string, Record<string, Expectation>> = {
  'landfall.prompt.v1.PromptService': {
    CreatePrompt: {
      ...{ right: 'editor', isFolder: true },
      request: ({ folder }) => ({ name: `c-${randomUUID()}`, folder, draft }),
    },
    GetPrompt: viewer(named),
    ListPrompts: list('prompts', ({ prompt }) => ({ namePrefix: prompt })),
    CreateVersion: editor((place) => ({ ...named(place), draft })),
    ListVersions: viewer(named),
    DiffVersions: viewer((place) => ({ ...named(place), from: '1.0.0', to: '1.1.0' })),
    SetLabel: editor((place) => ({ ...named(place), label: 'free', version: '1.0.0' })),
    RenderPrompt: invoker(named),
    Invoke: invoker((place) => ({ ...named(place), deployment: 'qa' })),
    ListInvocations: list('invocations', ({ prompt: name }) => ({ name })),
    ScoreInvocation: invoker(({ invocation }) => ({
      ...{ invocationId: invocation, score: { name: 'quality', value: 5 } },
    })),
    LintPrompt: { right: 'role', request: () => ({ draft }) },
    // Without a deployment: nothing is started.
    EvaluatePrompt: invoker((place) => ({ ...named(place), dataset: `tests:/${place.testSet}` })),
    OptimizePrompt: editor((place) => ({ ...named(place), dataset: `tests:/${place.testSet}` })),
  },
  'landfall.prompt.v1.PromptAccessService': {
    GrantRight: owner((place) => ({ ...target(place), grantee: 'user:someone', right: 1 })),
    RevokeRight: owner((place) => ({ ...target(place), grantee: 'user:nobody' })),
    ListGrants: editor(target),
    RestrictAccess: owner(target),
    ExplainRight: viewer((place) => ({ ...target(place), right: 1 })),
    MovePrompt: owner((place) => ({ ...named(place), folder: place.folder })),
    ProtectLabel: owner((place) => ({ ...target(place), label: 'production' })),
    UnprotectLabel: owner((place) => ({ ...target(place), label: 'other' })),
    ListProtections: viewer(target),
    RequestLabelMove: editor((place) => ({ ...label(place), version: '1.0.0' })),
    DecideLabelMove: owner(({ move }) => ({ id: move, approve: true })),
    WithdrawLabelMove: owner(({ move }) => ({ id: move })),
    ListLabelMoves: list('moves', () => ({})),
    ListLabelHistory: viewer(label),
    UndoLabelMove: editor((place) => ({ ...named(place), label: 'nowhere' })),
    SearchPromptAudit: { right: 'role', request: () => ({}) },
  },
  'landfall.prompt.v1.PromptDraftService': {
    SaveDraft: editor(({ prompt }) => ({ prompt, draftName: 'other', draft })),
    GetDraft: viewer(({ prompt }) => ({ prompt, draftName: 'begun' })),
    ListDrafts: viewer(({ prompt }) => ({ prompt })),
    DeleteDraft: editor(({ prompt }) => ({ prompt, draftName: 'none' })),
    PublishDraft: editor(({ prompt }) => ({ prompt, draftName: 'begun', revision: 99n })),
  },
  'landfall.prompt.v1.PromptLibraryService': {
    ListLibrary: { right: 'role', request: () => ({}) },
    InstallFromLibrary: {
      ...{ right: 'editor', isFolder: true },
      request: ({ folder }) => ({ entry: 'generation-en', name: `l-${randomUUID()}`, folder }),
    },
    ExportPrompt: viewer(named),
    ImportPrompt: {
      ...{ right: 'editor', isFolder: true },
      request: ({ folder }) => ({ content: file, name: `i-${randomUUID()}`, folder }),
    },
  },
  'landfall.prompt.v1.PromptEvaluationService': {
    CreateTestSet: {
      right: 'role',
      request: () => ({
        name: `t-${randomUUID()}`,
        source: { case: 'rows', value: { rows: [{ expected: 'x' }] } },
      }),
    },
    GetTestSet: { right: 'tenant', request: ({ testSet: name }) => ({ name }) },
    ListTestSets: { right: 'role', request: () => ({}) },
    ListTestSetRows: { right: 'tenant', request: ({ testSet: name }) => ({ name }) },
    GetEvaluation: viewer(({ evaluation: id }) => ({ id })),
    ListEvaluations: list('evaluations', () => ({})),
    WatchEvaluation: viewer(({ evaluation: id }) => ({ id })),
    CancelEvaluation: editor(({ evaluation: id }) => ({ id })),
    ListEvaluationRows: viewer(({ evaluation }) => ({ evaluationId: evaluation })),
    CompareEvaluations: viewer(({ evaluation: id }) => ({ evaluations: [{ id }, { id }] })),
    SetGates: owner((place) => ({ ...named(place), label: 'other' })),
    CheckGates: viewer((place) => ({ ...label(place), version: '1.0.0' })),
    GetOptimization: viewer(({ optimization: id }) => ({ id })),
    ListOptimizations: list('optimizations', () => ({})),
    WatchOptimization: viewer(({ optimization: id }) => ({ id })),
    CancelOptimization: editor(({ optimization: id }) => ({ id })),
    ListOptimizationTries: viewer(({ optimization }) => ({ optimizationId: optimization })),
    SetDriftWatch: editor((place) => ({
      watch: { ...label(place), score: 'quality', reference: 5, minimum: 1, maximum: 10 },
    })),
    GetDriftWatch: viewer(label),
    DeleteDriftWatch: editor((place) => ({ ...named(place), label: 'other' })),
  },
  'landfall.prompt.v1.PromptLogService': {
    SetLogPolicy: owner((place) => ({ policy: target(place) })),
    ListLogPolicies: viewer(target),
    DeleteLogPolicy: owner(target),
    SetScoringPolicy: editor(({ prompt }) => ({ policy: { prompt, name: 'words', functions } })),
    ListScoringPolicies: viewer(({ prompt }) => ({ prompt })),
    DeleteScoringPolicy: editor(({ prompt }) => ({ prompt, name: 'none' })),
    ComputeScores: invoker(({ invocation }) => ({ invocationId: invocation, functions })),
  },
  'landfall.prompt.v1.PromptExperimentService': {
    StartExperiment: editor((place) => ({
      ...{ ...named(place), label: 'free', goal: { kind: { case: 'errorRate', value: true } } },
      arms: ['1.0.0', '1.1.0'].map((version) => ({ version, weight: 1 })),
    })),
    GetExperiment: viewer(({ experiment: id }) => ({ id })),
    ListExperiments: viewer(named),
    PromoteExperiment: editor(({ experiment: id }) => ({ id })),
    ReturnExperiment: editor(({ experiment: id }) => ({ id })),
  },
};
