"""What TensorRT's Python module has in 8.0, 8.2, 8.6, 10 and 11: names, arguments, members.

Recorded from the sources of its bindings (NVIDIA/TensorRT, python/src/infer/pyCore.cpp and
python/src/parsers/pyOnnx.cpp); 11 is 10 without what it removed, which tensorrt-rtx 1.7, of the
same generation, lacks as well. The classes that an adapter meets are there in full, the layers
of a network are not.

    name(a, b=0)   a method and its arguments      .name    a property to read
    .name=         a property to read and set      .name:=  one that can only be set
"""

import re
from dataclasses import dataclass

VERSIONS = ("8.0.1.6", "8.2.1.8", "8.6.1", "10.3.0", "11.0.0")


@dataclass(frozen=True)
class Class:
    """What instances of a class have.

    Attributes:
        constructor: names of the arguments it is made from; None if it cannot be made.
        methods: name -> its arguments with their defaults, as in a signature.
        readable: properties that can be read.
        settable: properties that can be set.
    """

    constructor: str | None
    methods: dict[str, str]
    readable: frozenset[str]
    settable: frozenset[str]


_BUILDER = """
    create_network(flags=0) create_optimization_profile() create_builder_config()
    build_serialized_network(network, config) is_network_supported(network, config) reset()
    .max_DLA_batch_size .num_DLA_cores .gpu_allocator:= .error_recorder= .logger
"""
_FAST = ".platform_has_tf32 .platform_has_fast_fp16 .platform_has_fast_int8"
_CONFIG = """
    clear_flag(flag) set_flag(flag) get_flag(flag) reset() add_optimization_profile(profile)
    set_device_type(layer, device_type) get_device_type(layer) is_device_type_set(layer)
    reset_device_type(layer) can_run_on_DLA(layer) set_tactic_sources(tactic_sources)
    get_tactic_sources() create_timing_cache(serialized_timing_cache)
    set_timing_cache(cache, ignore_mismatch) get_timing_cache()
    .avg_timing_iterations= .engine_capability= .flags= .default_device_type= .DLA_core=
    .profile_stream= .num_optimization_profiles .profiling_verbosity=
"""
_CALIBRATION = """
    set_calibration_profile(profile) get_calibration_profile() clear_quantization_flag(flag)
    set_quantization_flag(flag) get_quantization_flag(flag)
    .int8_calibrator= .quantization_flags= .algorithm_selector=
"""
_POOLS = """
    set_memory_pool_limit(pool, pool_size) get_memory_pool_limit(pool)
    set_preview_feature(feature, enable) get_preview_feature(feature)
    .builder_optimization_level= .hardware_compatibility_level= .plugins_to_serialize=
    .max_aux_streams=
"""
_RUNTIME = """
    deserialize_cuda_engine(serialized_engine)
    .DLA_core= .num_DLA_cores .gpu_allocator:= .error_recorder= .logger
"""
_LATER_RUNTIME = """
    get_plugin_registry() load_runtime(path)
    .max_threads= .temporary_directory= .tempfile_control_flags= .engine_host_code_allowed=
"""
_ENGINE = """
    create_engine_inspector() serialize()
    .num_layers .refittable .name .num_optimization_profiles .engine_capability .error_recorder=
    .tactic_sources .profiling_verbosity
"""
_ENGINE_OF_BINDINGS = """
    __len__() get_binding_name(index) get_binding_index(name) binding_is_input(index)
    get_binding_shape(index) get_binding_dtype(index) get_location(index)
    get_profile_shape(profile_index, binding) get_profile_shape_input(profile_index, binding)
    is_shape_binding(binding) is_execution_binding(binding) get_binding_format(index)
    get_binding_bytes_per_component(index) get_binding_components_per_element(index)
    get_binding_format_desc(index) get_binding_vectorized_dim(index) create_execution_context()
    create_execution_context_without_device_memory()
    .num_bindings .has_implicit_batch_dimension .max_batch_size .device_memory_size
"""
_ENGINE_OF_TENSORS = """
    get_tensor_name(index) get_tensor_mode(name) is_shape_inference_io(name)
    get_tensor_shape(name) get_tensor_dtype(name) get_tensor_location(name)
    get_tensor_bytes_per_component(name, profile_index=0) get_tensor_format_desc(name)
    get_tensor_components_per_element(name, profile_index=0) get_tensor_format(name)
    get_tensor_vectorized_dim(name, profile_index=0) get_tensor_profile_shape(name, profile_index)
    .num_io_tensors .hardware_compatibility_level .num_aux_streams
"""
_LATER_ENGINE = """
    create_execution_context(strategy=0) create_serialization_config() is_debug_tensor(name)
    serialize_with_config(config) get_tensor_profile_values(name, profile_index)
    get_device_memory_size_for_profile_v2(profile_index) get_weight_streaming_automatic_budget()
    .device_memory_size_v2 .weight_streaming_budget_v2= .streamable_weights_size
"""
_CONTEXT = """
    execute_v2(bindings) set_optimization_profile_async(profile_index, stream_handle)
    report_to_profiler()
    .debug_sync= .profiler= .engine .name= .device_memory:= .all_binding_shapes_specified
    .error_recorder= .enqueue_emits_profile=
"""
_CONTEXT_OF_BINDINGS = """
    execute(batch_size=1, bindings=None) execute_async_v2(bindings, stream_handle, input_consumed=0)
    execute_async(batch_size=1, bindings=None, stream_handle=0, input_consumed=0)
    get_strides(binding) set_binding_shape(binding, shape) get_binding_shape(binding)
    set_shape_input(binding, shape) get_shape(binding)
    .active_optimization_profile= .all_shape_inputs_specified
"""
_CONTEXT_OF_TENSORS = """
    get_tensor_strides(name) set_input_shape(name, shape) get_tensor_shape(name)
    set_tensor_address(name, memory) get_tensor_address(name) set_input_consumed_event(event)
    get_input_consumed_event() set_output_allocator(name, output_allocator)
    get_output_allocator(name) get_max_output_size(name) infer_shapes()
    execute_async_v3(stream_handle) set_aux_streams(aux_streams)
    .temporary_allocator= .persistent_cache_limit= .nvtx_verbosity=
"""
_LATER_CONTEXT = """
    set_device_memory(memory, size) update_device_memory_size_for_shapes()
    set_debug_listener(listener) get_debug_listener() set_tensor_debug_state(name, flag)
    get_debug_state(name) set_all_tensors_debug_state(flag)
    .active_optimization_profile
"""
_PARSER = """
    parse(model, path=None) parse_from_file(model) supports_operator(op_name) get_error(index)
    clear_errors()
    .num_errors
"""
_LATER_PARSER = """
    supports_model_v2(model, path=None) is_subgraph_supported(index) get_subgraph_nodes(index)
    get_used_vc_plugin_libraries() set_flag(flag) get_flag(flag) clear_flag(flag)
    get_layer_output_tensor(name, i)
    .num_subgraphs .flags=
"""
_ERROR = "code() desc() file() line() func() node()"
_LAYER = """
    get_input(index) set_input(index, tensor) get_output(index) get_output_type(index)
    .name= .type .num_inputs .num_outputs
"""
_LATER_ERROR = "node_name() node_operator() local_function_stack() local_function_stack_size()"

_SAME = {
    "ILogger()": "log(severity, msg)",
    "ITimingCache": "serialize() combine(input_cache, ignore_mismatch) reset()",
    "IHostMemory": "__bytes__() .dtype .nbytes",
    "IOptimizationProfile": """
        set_shape(input, min, opt, max) get_shape(input) set_shape_input(input, min, opt, max)
        get_shape_input(input) __bool__() .extra_memory_target=
    """,
    "INetworkDefinition": """
        get_input(index) get_output(index) get_layer(index) mark_output(tensor)
        .num_inputs .num_outputs .num_layers .name= .error_recorder=
    """,
    "ITensor": ".name= .shape= .dtype= .is_network_input .is_network_output .is_shape_tensor",
    "ILayer": _LAYER
    + """ reset_precision() set_output_type(index, dtype)
        reset_output_type(index) output_type_is_set(index) .precision= .precision_is_set""",
    "EngineInspector": """
        get_layer_information(layer_index, format) get_engine_information(format)
        .execution_context= .error_recorder=
    """,
}
_CLASSES = {
    "8.2.1.8": {
        **_SAME,
        "Builder(logger)": _BUILDER + _FAST + " build_engine(network, config) .max_batch_size=",
        "IBuilderConfig": _CONFIG + _CALIBRATION + ".min_timing_iterations= .max_workspace_size=",
        "Runtime(logger)": _RUNTIME,
        "ICudaEngine": _ENGINE + _ENGINE_OF_BINDINGS,
        "IExecutionContext": _CONTEXT + _CONTEXT_OF_BINDINGS,
        "OnnxParser(network, logger)": _PARSER
        + "parse_with_weight_descriptors(model) supports_model(model, path=None)",
        "ParserError": _ERROR,
    },
    "8.6.1": {
        **_SAME,
        "Builder(logger)": _BUILDER
        + _FAST
        + """ build_engine(network, config) get_plugin_registry() .max_batch_size=
        .max_threads=""",
        "IBuilderConfig": _CONFIG
        + _CALIBRATION
        + _POOLS
        + ".min_timing_iterations= .max_workspace_size=",
        "Runtime(logger)": _RUNTIME + _LATER_RUNTIME,
        "ICudaEngine": _ENGINE + _ENGINE_OF_BINDINGS + _ENGINE_OF_TENSORS,
        "IExecutionContext": _CONTEXT + _CONTEXT_OF_BINDINGS + _CONTEXT_OF_TENSORS,
        "OnnxParser(network, logger)": _PARSER
        + """parse_with_weight_descriptors(model) supports_model(model, path=None)
        get_used_vc_plugin_libraries() set_flag(flag) get_flag(flag) clear_flag(flag) .flags=""",
        "ParserError": _ERROR,
    },
    "10.3.0": {
        **_SAME,
        "Builder(logger)": _BUILDER
        + _FAST
        + " build_engine_with_config(network, config) get_plugin_registry() .max_threads=",
        "IBuilderConfig": _CONFIG + _CALIBRATION + _POOLS + ".max_num_tactics= .runtime_platform=",
        "Runtime(logger)": _RUNTIME + _LATER_RUNTIME,
        "ICudaEngine": _ENGINE
        + _ENGINE_OF_TENSORS
        + _LATER_ENGINE
        + ".has_implicit_batch_dimension .device_memory_size",
        "IExecutionContext": _CONTEXT
        + _CONTEXT_OF_TENSORS
        + _LATER_CONTEXT
        + " .all_shape_inputs_specified",
        "OnnxParser(network, logger)": _PARSER
        + _LATER_PARSER
        + "parse_with_weight_descriptors(model) supports_model(model, path=None)",
        "ParserError": _ERROR + " " + _LATER_ERROR,
    },
    "11.0.0": {
        **_SAME,
        "ILayer": _LAYER,  # whose precision is the file's
        "Builder(logger)": _BUILDER + "get_plugin_registry() .max_threads=",
        "IBuilderConfig": _CONFIG + _POOLS + ".max_num_tactics= .runtime_platform=",
        "Runtime(logger)": _RUNTIME + _LATER_RUNTIME,
        "ICudaEngine": _ENGINE + _ENGINE_OF_TENSORS + _LATER_ENGINE,
        "IExecutionContext": _CONTEXT + _CONTEXT_OF_TENSORS + _LATER_CONTEXT,
        "OnnxParser(network, logger)": _PARSER + _LATER_PARSER,
        "ParserError": _ERROR + " " + _LATER_ERROR,
    },
}

_FLAGS = "DEBUG GPU_FALLBACK REFIT DISABLE_TIMING_CACHE TF32 SPARSE_WEIGHTS SAFETY_SCOPE"
_CONSTRAINTS = "PREFER_PRECISION_CONSTRAINTS OBEY_PRECISION_CONSTRAINTS"
_LATER_FLAGS = "DIRECT_IO VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME"
_TYPES = "FLOAT HALF INT8 INT32 BOOL"
_CODES = """SUCCESS INTERNAL_ERROR MEM_ALLOC_FAILED MODEL_DESERIALIZE_FAILED INVALID_VALUE
    INVALID_GRAPH INVALID_NODE UNSUPPORTED_GRAPH UNSUPPORTED_NODE"""
_LATER_CODES = """UNSUPPORTED_NODE_ATTR UNSUPPORTED_NODE_INPUT UNSUPPORTED_NODE_DATATYPE
    UNSUPPORTED_NODE_DYNAMIC UNSUPPORTED_NODE_SHAPE REFIT_FAILED"""
_VERBOSITY = "LAYER_NAMES_ONLY DETAILED NONE"
_POOL_TYPES = "WORKSPACE DLA_MANAGED_SRAM DLA_LOCAL_DRAM DLA_GLOBAL_DRAM TACTIC_DRAM"

_SAME_ENUMS = {
    "Severity": "INTERNAL_ERROR ERROR WARNING INFO VERBOSE",
    "LayerInformationFormat": "ONELINE JSON",
}
_ENUMS = {
    "8.2.1.8": {
        **_SAME_ENUMS,
        "BuilderFlag": f"FP16 INT8 {_FLAGS} STRICT_TYPES",
        "NetworkDefinitionCreationFlag": "EXPLICIT_BATCH EXPLICIT_PRECISION",
        "ProfilingVerbosity": f"{_VERBOSITY} DEFAULT VERBOSE",
        "DataType": _TYPES,
        "ErrorCode": _CODES,
    },
    "8.6.1": {
        **_SAME_ENUMS,
        "BuilderFlag": f"FP16 INT8 {_FLAGS} {_CONSTRAINTS} {_LATER_FLAGS} STRICT_TYPES FP8",
        "NetworkDefinitionCreationFlag": "EXPLICIT_BATCH EXPLICIT_PRECISION",
        "ProfilingVerbosity": f"{_VERBOSITY} DEFAULT VERBOSE",
        "MemoryPoolType": _POOL_TYPES,
        "DataType": f"{_TYPES} UINT8 FP8",
        "TensorIOMode": "NONE INPUT OUTPUT",
        "ErrorCode": _CODES,
    },
    "10.3.0": {
        **_SAME_ENUMS,
        "BuilderFlag": f"FP16 BF16 INT8 FP8 INT4 {_FLAGS} {_CONSTRAINTS} {_LATER_FLAGS} STRIP_PLAN",
        "NetworkDefinitionCreationFlag": "EXPLICIT_BATCH STRONGLY_TYPED",
        "ProfilingVerbosity": _VERBOSITY,
        "MemoryPoolType": f"{_POOL_TYPES} TACTIC_SHARED_MEMORY",
        "DataType": f"{_TYPES} UINT8 FP8 BF16 INT64 INT4",
        "TensorIOMode": "NONE INPUT OUTPUT",
        "ErrorCode": f"{_CODES} {_LATER_CODES}",
    },
    "11.0.0": {
        **_SAME_ENUMS,
        "BuilderFlag": f"{_FLAGS} {_LATER_FLAGS} STRIP_PLAN",
        "NetworkDefinitionCreationFlag": "STRONGLY_TYPED",
        "ProfilingVerbosity": _VERBOSITY,
        "MemoryPoolType": f"{_POOL_TYPES} TACTIC_SHARED_MEMORY",
        "DataType": f"{_TYPES} UINT8 FP8 BF16 INT64 INT4",
        "TensorIOMode": "NONE INPUT OUTPUT",
        "ErrorCode": f"{_CODES} {_LATER_CODES}",
    },
}


# JetPack 4.6 before 4.6.1: engines cannot be inspected yet.
_CLASSES["8.0.1.6"] = {
    **{name: text for name, text in _CLASSES["8.2.1.8"].items() if name != "EngineInspector"},
    "ICudaEngine": _CLASSES["8.2.1.8"]["ICudaEngine"].replace("create_engine_inspector()", ""),
}
_ENUMS["8.0.1.6"] = {
    **{name: text for name, text in _ENUMS["8.2.1.8"].items() if name != "LayerInformationFormat"},
    "ProfilingVerbosity": "DEFAULT NONE VERBOSE",
}


def classes(version: str) -> dict[str, Class]:
    """Return the classes of a version by their names."""
    return {
        heading.partition("(")[0]: _class(heading, text)
        for heading, text in _CLASSES[version].items()
    }


def enumerations(version: str) -> dict[str, list[str]]:
    """Return the members of a version's enumerations by their names."""
    return {name: members.split() for name, members in _ENUMS[version].items()}


def _class(heading: str, text: str) -> Class:
    constructor = re.search(r"\((.*)\)", heading)
    properties = re.findall(r"(?<!\S)\.(\w+)(:=|=)?(?!\S)", text)
    return Class(
        constructor.group(1) if constructor else None,
        dict(re.findall(r"(?<![\w.])(\w+)\((.*?)\)", text)),
        frozenset(name for name, kind in properties if kind != ":="),
        frozenset(name for name, kind in properties if kind),
    )
