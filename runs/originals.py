"""The originals' flags and README commands beside ours: data for docs/flags.md and for the tests that try it all.

Theirs are read from argparse calls, constructors and yaml files; ours must parse (`tests/published/test_commands.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """One of their flags. `ours` is an option or a setting of `method` in a `command`, or "" where there is none."""

    theirs: str
    ours: str
    note: str = ""
    method: str = ""
    command: str = "bench generate"


@dataclass(frozen=True)
class Command:
    """A command of their README, and what is typed here."""

    theirs: str
    ours: tuple[str, ...]


@dataclass(frozen=True)
class System:
    """A program of theirs: where its flags stand, and what they are here."""

    name: str
    source: str
    about: str
    flags: tuple[Flag, ...]
    commands: tuple[Command, ...] = ()


def _of(method: str, *flags: Flag) -> tuple[Flag, ...]:
    return tuple(Flag(f.theirs, f.ours, f.note, f.method or method, f.command) for f in flags)


LLM = "whose kept replies are read: `animatic import FILE --model NAME` before"
SPLIT = "`--shard I/N` splits a run, `--limit N` takes a stratified sample of the tasks"
UNTIL = "theirs counts steps, ours is the fraction: 10 of 40 steps is `10/40`"
RUN_FLAGS = (
    Flag("--save-suffix", "--out", "a run is its folder"),
    Flag("--model", "--planner", f"`cached:NAME`, {LLM}"),
    Flag("--repeats", "--repeats", "seeds as there: prompt + 6789 a repeat"),
    Flag("--regenerate", "--repeats", "or another run with another `--seed`"),
    Flag("--force_run_ind", "--out", "the same folder is resumed"),
    Flag("--skip_first_prompts", "--shard", SPLIT),
    Flag("--num_prompts", "--limit", SPLIT),
    Flag("--seed_offset", "--seed", "prompt i of a run has i more, as there; with `--prompts` all have the same"),
    Flag("--run-model", "--method", "and `--model`: see the commands"),
    Flag("--no-continue-on-error", "", "what fails is kept with its reason, `--retry` makes it again"),
    Flag("--prompt-type", "", "the benchmark's name (lmd, lvd); a file of prompts: `make --prompts FILE`"),
    Flag("--template_version", "", "of the planner: what was replied is in the file that is imported"),
    Flag("--dry-run", "", "`animatic bench plan`, `animatic plan`"),
)

LVD = System(
    "LVD",
    "generate.py",
    "Settings are those of `lvd:published`, which counts as LVD does; the plain `lvd` has the same names and other"
    " numbers ([as published](published.md)).",
    _of(
        "lvd:published",
        *RUN_FLAGS,
        Flag("--visualize", "--draw", command="plan"),
        Flag("--fg_top_p", "--set energy.terms.inside"),
        Flag("--bg_top_p", "--set energy.terms.outside"),
        Flag("--fg_weight", "--set energy.terms.foreground"),
        Flag("--bg_weight", "--set energy.terms.background"),
        Flag("--loss_threshold", "--set energy.threshold"),
        Flag("--loss_scale", "--set energy.scale"),
        Flag("--boxdiff_loss_scale", "--set energy.terms.corners"),
        Flag("--boxdiff_normed", "--set energy.terms.normed", "0 is off, 1 is on"),
        Flag("--com_loss_scale", "--set energy.terms.centre"),
        Flag("--use_ratio_based_loss", "--set energy.terms", "1 is `ratio`, 0 is `box`"),
        Flag("--gligen_scheduled_sampling_beta", "--set gligen.until", method="lvd-gligen:published"),
        Flag("--num_inference_steps", "--steps"),
        Flag("--max_iter", "--set energy.iterations"),
        Flag("--max_index_step", "--set energy.until", UNTIL),
        Flag("--num_frames", "--frames"),
    ),
    (
        Command(
            "python generate.py --model gpt-4-1106-preview --run-model lvd_zeroscope --prompt-type demo --save-suffix"
            " weak_guidance --template_version v0.1 --seed_offset 0 --repeats 10 --loss_scale 2.5 --loss_threshold 350."
            " --max_iter 1 --max_index_step 10 --fg_top_p 0.25 --bg_top_p 0.25 --fg_weight 1.0 --bg_weight 2.0"
            " --num_frames 24",
            (
                "animatic import cache_demo_v0.1_gpt-4-1106-preview.json --model gpt-4-1106-preview",
                "animatic make --prompts demo.txt --planner cached:gpt-4-1106-preview --model zeroscope --method"
                " lvd:published --out out/weak_guidance --seed 0 --repeats 10 --set energy.scale=2.5 --set"
                " energy.threshold=350 --set energy.iterations=1 --set energy.until=10/40"
                " --set energy.terms.inside=0.25 --set energy.terms.outside=0.25"
                " --set energy.terms.foreground=1 --set energy.terms.background=2 --frames 24",
            ),
        ),
        Command(
            "python generate.py --model gpt-4-1106-preview --run-model lvd-gligen_modelscope256 --prompt-type demo"
            " --save-suffix lvd_gligen --template_version v0.1 --seed_offset 0 --repeats 10 --num_frames 16"
            " --gligen_scheduled_sampling_beta 0.4",
            (
                "animatic make --prompts demo.txt --planner cached:gpt-4-1106-preview --model modelscope-gligen"
                " --method lvd-gligen:published --out out/lvd_gligen --seed 0 --repeats 10 --frames 16 --set"
                " gligen.until=0.4",
            ),
        ),
        Command(
            "python generate.py --model gpt-4-1106-preview --run-model zeroscope --prompt-type demo --save-suffix"
            " baseline --template_version v0.1 --seed_offset 0 --repeats 10 --num_frames 24",
            (
                "animatic render --prompts demo.txt --model zeroscope --out out/baseline --seed 0 --repeats 10"
                " --frames 24",
            ),
        ),
        Command(
            'python generate.py --model "gpt-4-1106-preview" --force_run_ind 0 --run-model lvd_modelscope256'
            " --prompt-type lvd --template_version v0.1 --seed_offset 0 --com_loss_scale 0.03",
            (
                "animatic import cache_lvd_v0.1_gpt-4-1106-preview.json --model gpt-4-1106-preview",
                "animatic bench generate lvd --model modelscope --method lvd:published --planner"
                " cached:gpt-4-1106-preview --out runs/out/lvd0 --seed 0 --set energy.terms.centre=0.03",
            ),
        ),
        Command(
            "python scripts/eval_owl_vit.py --run_base_path"
            " ./img_generations/imgs_lvd_templatev0.1_gpt-4-1106-preview_lvd_modelscope256/run0 --skip_first_prompts 0"
            " --verbose --detection_score_threshold 0.1 --nms_threshold 0.1 --class-aware-nms --num_eval_frames 6"
            " --prompt-type lvd",
            (
                "animatic bench score runs/out/lvd0 --detector owlvit --threshold 0.1 --nms 0.1 --class-aware"
                " --frames 6",
            ),
        ),
    ),
)

LVD_EVAL = System(
    "LVD's and LMD's scoring",
    "scripts/eval_owl_vit.py, scripts/owl_vit_eval.py",
    "Not given, thresholds are those of the READMEs' commands, not of the scripts' defaults.",
    tuple(
        Flag(f.theirs, f.ours, f.note, command="bench score")
        for f in (
            Flag("--prompt-type", "", "the run says what it is of"),
            Flag("--model", "", "the run says whose plans it has"),
            Flag("--run_base_path", "", "the folder of the run, the one argument"),
            Flag("--run_start_ind", "", "jobs are found by what they are of"),
            Flag("--prompt_start_ind", "", "jobs are found by what they are of"),
            Flag("--num_prompts", "", "all that was made is scored"),
            Flag("--skip_first_prompts", "", "all that was made is scored"),
            Flag("--num_eval_frames", "--frames"),
            Flag("--detection_score_threshold", "--threshold"),
            Flag("--nms_threshold", "--nms"),
            Flag("--class-aware-nms", "--class-aware"),
            Flag("--save-eval", "", "`score.json` in the run's folder"),
            Flag("--verbose", "--json"),
            Flag("--no-cuda", "", "a GPU is used where there is one"),
        )
    ),
)

LVD_UPSAMPLE = System(
    "LVD's enlarging",
    "scripts/upsample.py",
    "A stage of `animatic finish` or `--then`.",
    tuple(
        Flag(f.theirs, f.ours, f.note, command="finish")
        for f in (
            Flag("--videos", "", "one video, the argument"),
            Flag("--prompts", "--prompt", "the file's own if not given"),
            Flag("--seed", "--seed"),
            Flag("--strength", "--then refine:0.35"),
            Flag("--negative_prompt", "--negative"),
            Flag("--use_zsxl", "--then refine:0.35:model=zeroscope-xl:width=1024:height=576"),
            Flag("--use_sdxl", "--then refine:0.35:model=sdxl-refiner:width=1024:height=576"),
            Flag(
                "--use_zssdxl",
                "--then refine:0.35:model=zeroscope-xl:width=1024:height=576,refine:0.1:model=sdxl-refiner",
            ),
            Flag("--horizontal", "--then refine:0.35:width=1024:height=576", "without it `width=1024:height=1024`"),
            Flag("--output-mp4", "--format"),
        )
    ),
    (
        Command(
            'python scripts/upsample.py --videos path_to_joblib_video --prompts "prompt for the video" --use_zsxl'
            " --horizontal --output-mp4",
            (
                'animatic finish video.mp4 --prompt "prompt for the video" --seed 1 --then'
                " refine:0.35:model=zeroscope-xl:width=1024:height=576 --format mp4",
            ),
        ),
    ),
)

_WHOLE = "composition.energy"
_ALONE = "composition.object_controls.energy"
LMD = System(
    "LMD",
    "generate.py",
    "Settings are those of `lmd:published` (of each object alone: `composition.object_controls.`, of the whole:"
    " `composition.energy.`) and of `lmd+:published`, which has no energy for objects alone. In"
    " `backward-guidance:published` and `boxdiff:published` the `overall_` flags are settings of `energy.`, such as"
    " `energy.scale`.",
    _of(
        "lmd:published",
        *RUN_FLAGS,
        Flag("--scheduler", "--scheduler"),
        Flag("--use-sdv2", "--model", "`sd21`"),
        Flag("--ignore-bg-prompt", "", 'a scene file whose "background" is empty'),
        Flag("--ignore-negative-prompt", "--prompt-only", "no plan, and so no negative words of it"),
        Flag("--no-synthetic-prompt", "", "a method that tells the prompt as typed, such as `none`"),
        Flag("--no-scale-boxes-default", "--filter", "boxes are filtered as there, and never scaled", command="import"),
        Flag("--no-center-or-align", "--set composition.centre", "`off`"),
        Flag("--sdxl", "--then refine:0.3:model=sdxl-refiner:width=1024:height=1024", command="make"),
        Flag("--sdxl-step-ratio", "--then refine:0.3:model=sdxl-refiner", "the number after `refine:`", command="make"),
        Flag("--frozen_step_ratio", "--set composition.frozen"),
        Flag("--loss_threshold", f"--set {_ALONE}.threshold"),
        Flag("--ref_ca_loss_weight", "--set composition.transfer"),
        Flag("--fg_top_p", f"--set {_ALONE}.terms.inside"),
        Flag("--bg_top_p", f"--set {_ALONE}.terms.outside"),
        Flag("--overall_fg_top_p", f"--set {_WHOLE}.terms.inside"),
        Flag("--overall_bg_top_p", f"--set {_WHOLE}.terms.outside"),
        Flag("--fg_weight", f"--set {_ALONE}.terms.foreground"),
        Flag("--bg_weight", f"--set {_ALONE}.terms.background"),
        Flag("--overall_fg_weight", f"--set {_WHOLE}.terms.foreground"),
        Flag("--overall_bg_weight", f"--set {_WHOLE}.terms.background"),
        Flag("--overall_loss_threshold", f"--set {_WHOLE}.threshold"),
        Flag("--fg_blending_ratio", "--set composition.blend"),
        Flag("--mask_th_for_point", "--set composition.mask.threshold"),
        Flag("--so_floor_padding", "--set composition.floor"),
        Flag("--loss_scale", f"--set {_ALONE}.scale"),
        Flag("--max_iter", f"--set {_ALONE}.iterations", "one number, or one for each step: `4,4,3,2,1`"),
        Flag("--max_index_step", f"--set {_ALONE}.until", "30 of 50 steps is `30/50`"),
        Flag("--overall_max_iter", f"--set {_WHOLE}.iterations", "one number, or one for each step"),
        Flag("--overall_max_index_step", f"--set {_WHOLE}.until", "30 of 50 steps is `30/50`"),
        Flag("--overall_loss_scale", f"--set {_WHOLE}.scale"),
        Flag("--horizontal_shift_only", "--set composition.sideways", "1 is `on`"),
        Flag("--so_horizontal_center_only", "--set composition.placement", "1 is `kept`"),
        Flag("--use_autocast", "--dtype", "whole weights in half precision instead", command="make"),
        Flag("--use_ref_ca", "--set composition.transfer", "0 is a weight of 0"),
        Flag(
            "--so_vertical_placement", "--set composition.placement", "`floor_padding` is `floor`, `centered` `middle`"
        ),
        Flag(
            "--multidiffusion_bootstrapping",
            "--set regions.bootstrap",
            "10 of 50 steps is `10/50`",
            method="multidiffusion:published",
        ),
    ),
    (
        Command(
            'python generate.py --prompt-type demo --model gpt-4 --save-suffix "gpt-4" --repeats 5'
            " --frozen_step_ratio 0.5 --regenerate 1 --force_run_ind 0 --run-model lmd_plus --no-scale-boxes-default"
            " --template_version v0.1",
            (
                "animatic import cache_demo_v0.1_gpt-4.json --model gpt-4",
                "animatic make --prompts demo.txt --planner cached:gpt-4 --model sd14-gligen --method"
                " lmd+:published --out out/gpt-4 --format png --repeats 5 --set composition.frozen=0.5",
            ),
        ),
        Command(
            'python generate.py --prompt-type lmd --model gpt-3.5 --save-suffix "gpt-3.5" --repeats 1'
            " --frozen_step_ratio 0.5 --regenerate 1 --force_run_ind 0 --run-model lmd_plus --no-scale-boxes-default"
            " --template_version v0.1",
            (
                "animatic import cache_lmd_v0.1_gpt-3.5-turbo.json --model gpt-3.5",
                "animatic bench generate lmd --planner cached:gpt-3.5 --model sd14-gligen --method lmd+:published"
                " --out runs/out/lmd_plus --set composition.frozen=0.5",
            ),
        ),
        Command(
            "python scripts/owl_vit_eval.py --model gpt-3.5 --run_base_path"
            " img_generations/img_generations_templatev0.1_lmd_plus_lmd_gpt-3.5/run0 --skip_first_prompts 0"
            " --prompt_start_ind 0 --verbose --detection_score_threshold 0.15 --nms_threshold 0.15 --class-aware-nms",
            ("animatic bench score runs/out/lmd_plus --detector owlvit --threshold 0.15 --nms 0.15 --class-aware",),
        ),
        Command(
            'python generate.py --prompt-type lmd --model gpt-3.5 --save-suffix "gpt-3.5" --repeats 1'
            " --frozen_step_ratio 0.5 --regenerate 1 --force_run_ind 0 --run-model lmd --no-scale-boxes-default"
            " --template_version v0.1",
            (
                "animatic bench generate lmd --planner cached:gpt-3.5 --model sd15 --method lmd:published --out"
                " runs/out/lmd --set composition.frozen=0.5",
            ),
        ),
        Command(
            'python generate.py --prompt-type lmd --model gpt-3.5 --save-suffix "gpt-3.5" --repeats 1 --regenerate 1'
            " --force_run_ind 0 --run-model sd --no-scale-boxes-default --template_version v0.1"
            " --ignore-negative-prompt",
            (
                "animatic bench generate lmd --planner cached:gpt-3.5 --model sd15 --method none --prompt-only --out"
                " runs/out/sd",
            ),
        ),
        Command(
            'python generate.py --prompt-type lmd --model gpt-3.5 --save-suffix "gpt-3.5" --repeats 1 --regenerate 1'
            " --force_run_ind 0 --run-model multidiffusion --no-scale-boxes-default --template_version v0.1"
            " --multidiffusion_bootstrapping 10",
            (
                "animatic bench generate lmd --planner cached:gpt-3.5 --model sd15 --method multidiffusion:published"
                " --out runs/out/multidiffusion --set regions.bootstrap=10/50",
            ),
        ),
        *(
            Command(
                'python generate.py --prompt-type lmd --model gpt-3.5 --save-suffix "gpt-3.5" --repeats 1 --regenerate'
                f" 1 --force_run_ind 0 --run-model {theirs} --no-scale-boxes-default --template_version v0.1",
                (
                    f"animatic bench generate lmd --planner cached:gpt-3.5 --model {model} --method {ours} --out"
                    f" runs/out/{theirs}",
                ),
            )
            for theirs, model, ours in (
                ("backward_guidance", "sd15", "backward-guidance:published"),
                ("boxdiff", "sd15", "boxdiff:published"),
                ("gligen", "sd14-gligen", "gligen:published"),
            )
        ),
    ),
)

PLANNING = System(
    "LMD's and LVD's planning",
    "prompt_batch.py",
    "Templates are our own ([design](design.md)); replies that were kept are read with `animatic import`.",
    tuple(
        Flag(f.theirs, f.ours, f.note, command="plan")
        for f in (
            Flag("--prompt-type", "--prompts", "a file of prompts; of a benchmark: `animatic bench plan NAME`"),
            Flag("--model", "--planner", "`openai:MODEL`"),
            Flag("--template_version", "--template"),
            Flag("--auto-query", "--planner", "`openai:MODEL`; without it `paste`"),
            Flag("--always-save", "", "plans are always kept"),
            Flag("--no-visualize", "", "nothing is drawn without `--draw`"),
            Flag("--visualize-cache-hit", "--draw"),
            Flag("--unnormalize-boxes-before-save", "", "scenes are kept in 0..1"),
        )
    ),
    (
        Command(
            "python prompt_batch.py --prompt-type demo --model gpt-4 --always-save --template_version v0.1",
            ("animatic plan 'A red car' --planner paste --reply reply.txt --out scene.json --draw boxes.gif",),
        ),
        Command(
            "python scripts/eval_stage_one.py --prompt-type lmd --model gpt-3.5 --template_version v0.1",
            ("animatic bench score lmd --replies cache_lmd_v0.1_gpt-3.5-turbo.json",),
        ),
    ),
)

LAVIE_BASE = System(
    "LaVie, text to video",
    "base/configs/sample.yaml",
    "`animatic convert lavie lavie_base.pt` once, then `animatic render --prompts FILE --model lavie`.",
    tuple(
        Flag(f.theirs, f.ours, f.note, f.method, f.command if f.command != "bench generate" else "render")
        for f in (
            Flag("ckpt_path", "--model", "`lavie`, once it is converted"),
            Flag("output_folder", "--out"),
            Flag("pretrained_path", "--parts", "text encoder and VAE", command="convert"),
            Flag("model", "", "the checkpoint says what it is"),
            Flag("video_length", "--frames"),
            Flag("image_size", "--size", "height, width there; WIDTHxHEIGHT here"),
            Flag("beta_start", "", "of the converted folder's scheduler"),
            Flag("beta_end", "", "of the converted folder's scheduler"),
            Flag("beta_schedule", "", "of the converted folder's scheduler"),
            Flag("use_compile", "", "not used"),
            Flag("use_fp16", "--dtype"),
            Flag("seed", "--seed", "of every prompt; there the second prompt goes on where the first stopped"),
            Flag("run_time", "", "`--repeats`"),
            Flag("guidance_scale", "--guidance"),
            Flag("sample_method", "--scheduler", "`ddpm` (the default), `ddim`, `euler`"),
            Flag("num_sampling_steps", "--steps"),
            Flag("text_prompt", "--prompts", "a file, one prompt a line"),
        )
    ),
    (
        Command(
            "cd base && python pipelines/sample.py --config configs/sample.yaml",
            (
                "animatic convert lavie lavie_base.pt",
                "animatic render --prompts prompts.txt --model lavie --seed 400 --guidance 7 --out res/base",
            ),
        ),
    ),
)

LAVIE_MORE = System(
    "LaVie, interpolation and enlarging",
    "interpolation/configs/sample.yaml, vsr/configs/sample.yaml",
    "Stages of `animatic finish` or `--then`; the four combinations of the README have names"
    " ([finishing](finishing.md)).",
    tuple(
        Flag(f.theirs, f.ours, f.note, command="finish")
        for f in (
            Flag("input_folder", "", "one video, the argument"),
            Flag("input_path", "", "one video, the argument"),
            Flag("output_folder", "--out"),
            Flag("output_path", "--out"),
            Flag("ckpt_path", "--then interpolate:4:model=lavie-interpolation"),
            Flag("pretrained_path", "", "`animatic convert lavie --parts`"),
            Flag("seed_list", "--seed"),
            Flag("seed", "--seed"),
            Flag("fps_list", "--then interpolate:4:fps=24"),
            Flag("model", "", "the checkpoint says what it is"),
            Flag("num_frames", "--then interpolate:4", "16 frames become 61"),
            Flag("image_size", "", "that of the video"),
            Flag("num_sampling_steps", "--then interpolate:4:steps=50"),
            Flag("inference_steps", "--then upscale:4:steps=50"),
            Flag("vae", "", "that of the converted folder"),
            Flag("use_timecross_transformer", "", "not used (False)"),
            Flag("frame_interval", "", "not used (1)"),
            Flag("cfg_scale", "--then interpolate:4:guidance=4"),
            Flag("guidance_scale", "--then upscale:4:guidance=5"),
            Flag("run_time", "", "not used"),
            Flag("use_compile", "", "not used"),
            Flag("enable_xformers_memory_efficient_attention", "", "attention is always fused"),
            Flag("num_sample", "", "one"),
            Flag("additional_prompt", "", 'added by the stage (", 4k.")'),
            Flag("negative_prompt", "--negative", '"None", set by the stage, if not given'),
            Flag("do_classifier_free_guidance", "--then interpolate:4:guidance=1", "1 is off"),
            Flag("use_ddim_sample_loop", "", "DDIM, of the converted folder's scheduler"),
            Flag("researve_frame", "", "not used there"),
            Flag("mask_type", "", "not used there"),
            Flag("use_concat", "", "always"),
            Flag("copy_no_mask", "--then interpolate:4:keep=no"),
            Flag("noise_level", "--then upscale:4:level=50"),
        )
    ),
)

VDP = System(
    "video-diffusion-pytorch",
    "video_diffusion_pytorch.py, the constructors of Unet3D, GaussianDiffusion and Trainer",
    "What each means here stands in [training](training.md).",
    tuple(
        Flag(f.theirs, f.ours, f.note, command=f.command if f.command != "bench generate" else "train")
        for f in (
            Flag("dim", "--dim"),
            Flag("cond_dim", "--text", "the width of the text encoder"),
            Flag("out_dim", "", "as the input"),
            Flag("dim_mults", "--multiples"),
            Flag("channels", "", "3"),
            Flag("attn_heads", "", "8"),
            Flag("attn_dim_head", "", "32"),
            Flag("use_bert_text_cond", "--text", "`bert:FOLDER_OR_ID`"),
            Flag("init_dim", "", "as `dim`"),
            Flag("init_kernel_size", "", "7"),
            Flag("use_sparse_linear_attn", "", "on"),
            Flag("block_type", "", "resnet, the only one there"),
            Flag("image_size", "--size"),
            Flag("num_frames", "--frames"),
            Flag("text_use_bert_cls", "--pool", command="convert"),
            Flag("timesteps", "", "1,000"),
            Flag("loss_type", "--loss"),
            Flag("use_dynamic_thres", "--threshold"),
            Flag("dynamic_thres_percentile", "--threshold"),
            Flag("folder", "--data"),
            Flag("ema_decay", "--ema-decay"),
            Flag("train_batch_size", "--batch-size"),
            Flag("train_lr", "--learning-rate"),
            Flag("train_num_steps", "--steps"),
            Flag("gradient_accumulate_every", "--gradient-accumulation"),
            Flag("amp", "--mixed-precision"),
            Flag("step_start_ema", "", "averaged from the first step"),
            Flag("update_ema_every", "", "averaged at every step"),
            Flag("save_and_sample_every", "--save-every", "and `--sample-every`"),
            Flag("results_folder", "--out"),
            Flag("num_sample_rows", "--samples"),
            Flag("max_grad_norm", "--max-grad-norm"),
        )
    ),
)

SYSTEMS = (LVD, LVD_EVAL, LVD_UPSAMPLE, LMD, PLANNING, LAVIE_BASE, LAVIE_MORE, VDP)


def flags() -> str:
    """The page."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Their flags, ours\n\nWritten by `runs/reference.py` from `runs/originals.py`.\n"
    yield (
        "A method's settings are given by `--set NAME=VALUE` on `make`, `render`, `edit` and `bench generate`, and as\n"
        '`settings={"NAME": VALUE}` in Python; `animatic methods METHOD --model MODEL` lists them with their values.\n'
        "Fractions may be written as quotients: `10/40`. Each command below is run in the tests at tiny size."
    )
    for system in SYSTEMS:
        yield f"\n## {system.name}\n\n`{system.source}`. {system.about}\n"
        yield "| theirs | here | |\n|---|---|---|"
        for flag in system.flags:
            yield f"| `{flag.theirs}` | {_ours(flag, system)} | {flag.note} |"
        for command in system.commands:
            yield f"\n```\n# {command.theirs}\n{_lines(command.ours)}\n```"


def _ours(flag: Flag, system: System) -> str:
    """As it is typed, with the method where it is another than the table's usual one."""
    if not flag.ours:
        return "-"
    methods = [each.method for each in system.flags]
    other = flag.method and flag.method != max(set(methods), key=methods.count)
    return f"`{flag.ours}`" + (f" of `{flag.method}`" if other and flag.ours.startswith("--set") else "")


def _lines(commands: Sequence[str]) -> str:
    return "\n".join(commands)
