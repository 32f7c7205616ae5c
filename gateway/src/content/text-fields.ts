import type { DescField } from '@bufbuild/protobuf';

const words = (text: string) => new Set(text.trim().split(/\s+/));

/** Names of fields that hold what people or models have written, wherever they stand. */
const TEXTS = words(`
advice change_log class_templates comment completion conclusion content contract_problems decided_text delta description detail
evidence expected failure hypothesis instruction_templates json_lines markdown message notice note output
outputs problems proposal question readme reason reasons report rubric stopped_reason string_value summary template text
texts title verdict warnings
`);

/** Names of fields that hold names, numbers, times and words of the contracts: nothing that is said. */
const NAMES = words(`
action actor adapters added address alias aliases after after_digest approved_by approvers arm artifact author base base_model
base_version batch_id before before_digest best_version bleu_signature by caller canary_outcome category certificates change
changed
check checks claimed_by code collection criterion currency dataset datasets deployment deployments digest draft draft_name
earlier_datasets entry enum_values error evaluation_dataset evaluation_id evidence_ref exclude execution_provider experiment
fact facts fallback_deployments field file_name first folder format from from_folder from_version gate grantee group groups hash
header hub_id id ids image_digest include invocation_id item job_id job_ids job judge_model judge_score key kind label
labels language last_replacement latest_version license licenses line method methods media_type metric model
modules_to_save move_id name names name_prefix next_model next_page_token object op optimization_id order_by_metric origin
outcome output_model output_version owner page_token paraphrase_model parent path pattern policy policy_version position
precision prefix prepared_dataset principle product prompt profile prompt_digest proposed_version provider recorded_by ref refs regex relation
removed request_digest request_id resource resource_id response_digest restricted review_id reviewer reviewers revision rewriter role routes
roles route rule runtime safety_dataset schema scope scopes score second secret shard skipped source spec_digest status stopped_early subject successor
tag tags target target_modules tenant test_set test_set_digest to to_draft to_version tokenize trace_id train_dataset
type types url user validation_dataset validation_datasets value value_digest variable variables_digest version versions
unasked_judges waiting_for winner words json_schema created_by decided_by expected_version filters caused_by values metadata lines email issuer audience
subjects payload ended member members display account account_id policies permission policy_id policy_ids determining reference
cache bypass_subjects
`);

/** Fields whose names mean something else in their message. */
const HERE: Readonly<Record<string, 'text' | 'name'>> = {
  'landfall.text.v1.GenerateRequest.prompt': 'text',
  'landfall.text.v1.ScoreRequest.prompt': 'text',
  'landfall.text.v1.Choice.options': 'text',
  'landfall.text.v1.SamplingOptions.stop': 'text',
  'landfall.text.v1.TokenLogprob.token': 'text',
  'landfall.trainer.v1.EvaluationRow.reference': 'text',
  'landfall.vision.v1.ReportSection.lines': 'text',
  'landfall.vision.v1.ProfileSpec.prompt': 'text',
  'landfall.vision.v1.SearchResponse.Match.metadata': 'text',
  // What a policy is tried on is looked at by that policy.
  'landfall.gateway.v1.TryContentPolicyRequest.texts': 'name',
  'landfall.gateway.v1.TryContentPolicyResponse.Outcome.text': 'name',
  // A policy is no traffic.
  'landfall.gateway.v1.JudgeRule.rubric': 'name',
  // Who decides has to see what was asked.
  'landfall.gateway.v1.ContentReview.texts': 'name',
  'landfall.gateway.v1.ContentReview.answer_texts': 'name',
  // It was looked at, and approved.
  'landfall.gateway.v1.GetContentReviewResponse.answer_texts': 'name',
};

/**
 * Whether a string field holds text, which policies look at, or a name, which they leave alone; undefined where nobody
 * has said: a test fails for such a field of any public contract.
 */
export function kindOf(field: DescField): 'text' | 'name' | undefined {
  const here = HERE[`${field.parent.typeName}.${field.name}`];
  if (here) return here;
  if (TEXTS.has(field.name)) return 'text';
  return NAMES.has(field.name) || /_(?:id|name|digest|version|model|token|time)s?$/.test(field.name)
    ? 'name'
    : undefined;
}
